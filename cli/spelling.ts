/** Finds what somebody meant to type. */

/** The nearest of `known`, or undefined when none is near. */
export function findNearest(typed: string, known: readonly string[]): string | undefined {
  const limit = Math.max(1, Math.floor(typed.length / 3))
  const ranked = known
    .map((word) => ({ word, distance: word.startsWith(typed) ? 0 : editsBetween(typed, word) }))
    .filter(({ distance }) => distance <= limit)
    .sort((one, other) => one.distance - other.distance)
  return typed === '' ? undefined : ranked[0]?.word
}

/** ` Did you mean "list"?`, or nothing. */
export function meant(typed: string, known: readonly string[]): string {
  const nearest = findNearest(typed, known)
  return nearest === undefined ? '' : ` Did you mean "${nearest}"?`
}

/** Letters left out, added, replaced or swapped with their neighbour (optimal string alignment). */
function editsBetween(one: string, other: string): number {
  let beforeLast: readonly number[] = []
  let last: readonly number[] = Array.from({ length: other.length + 1 }, (_, at) => at)
  for (let row = 1; row <= one.length; row += 1) {
    const current = [row]
    for (let column = 1; column <= other.length; column += 1) {
      const isSwapped = one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1]
      current[column] = Math.min(
        at(last, column) + 1,
        at(current, column - 1) + 1,
        at(last, column - 1) + Number(one[row - 1] !== other[column - 1]),
        isSwapped ? at(beforeLast, column - 2) + 1 : Number.POSITIVE_INFINITY,
      )
    }
    ;[beforeLast, last] = [last, current]
  }
  return at(last, other.length)
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Number.POSITIVE_INFINITY
}
