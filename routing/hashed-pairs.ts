/** Pairs of a hash and a number in one array, by open addressing: 8 bytes a cell, nothing for the collector. */

/**
 * `cells` is a power of two. A pair stands in the first free cell from that of its hash on; the number 0 is a free
 * cell, and there is always one.
 */
export function createPairs(cells: number): Uint32Array {
  return new Uint32Array(2 * cells)
}

export function placePair(pairs: Uint32Array, hash: number, number: number): void {
  const mask = pairs.length / 2 - 1
  let cell = hash & mask
  while (pairs[2 * cell + 1] !== 0) cell = (cell + 1) & mask
  pairs[2 * cell] = hash
  pairs[2 * cell + 1] = number
}

/** Empties a cell, and moves those behind it that would not be found across the gap. */
export function emptyCell(pairs: Uint32Array, emptied: number): void {
  const mask = pairs.length / 2 - 1
  let gap = emptied
  for (let cell = (gap + 1) & mask; pairs[2 * cell + 1] !== 0; cell = (cell + 1) & mask) {
    const distance = (cell - (pairs[2 * cell] ?? 0)) & mask
    if (distance < ((cell - gap) & mask)) continue
    pairs.copyWithin(2 * gap, 2 * cell, 2 * cell + 2)
    gap = cell
  }
  pairs[2 * gap + 1] = 0
}

/** The same pairs in twice as many cells. */
export function toDoubled(pairs: Uint32Array): Uint32Array {
  const doubled = createPairs(pairs.length)
  for (let at = 0; at < pairs.length; at += 2) {
    const number = pairs[at + 1] ?? 0
    if (number !== 0) placePair(doubled, pairs[at] ?? 0, number)
  }
  return doubled
}
