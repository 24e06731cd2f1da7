/** From hashes to slots, several of one hash among them. */

import { createPairs, emptyCell, placePair, toDoubled } from '../hashed-pairs.ts'

const FIRST_CELLS = 256
/** Of all cells: beyond it, what is not there takes too many steps. */
const MAX_FILL = 0.6

export class HashedSlots {
  /** Of hash and slot. */
  #cells = createPairs(FIRST_CELLS)
  #mask = FIRST_CELLS - 1
  #size = 0

  get bytes(): number {
    return this.#cells.byteLength
  }

  add(hash: number, slot: number): void {
    if (this.#size >= MAX_FILL * (this.#mask + 1)) this.#grow()
    placePair(this.#cells, hash, slot)
    this.#size += 1
  }

  /** All that were added with the hash, each once: others than the wanted one may have it too. */
  find(hash: number): readonly number[] {
    const cells = this.#cells
    const found: number[] = []
    for (let cell = hash & this.#mask; ; cell = (cell + 1) & this.#mask) {
      const slot = cells[2 * cell + 1] ?? 0
      if (slot === 0) return found
      if (cells[2 * cell] === hash && !found.includes(slot)) found.push(slot)
    }
  }

  /** Takes one such pair away, if there is one. */
  delete(hash: number, slot: number): void {
    const cells = this.#cells
    for (let cell = hash & this.#mask; cells[2 * cell + 1] !== 0; cell = (cell + 1) & this.#mask) {
      if (cells[2 * cell] !== hash || cells[2 * cell + 1] !== slot) continue
      emptyCell(cells, cell)
      this.#size -= 1
      return
    }
  }

  #grow(): void {
    this.#cells = toDoubled(this.#cells)
    this.#mask = this.#cells.length / 2 - 1
  }
}
