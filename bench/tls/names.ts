/** The names of the TLS benchmark, and in which order clients ask for them. */

/** `busy` ones are few enough for any server's cache; `popular` are all, some asked for far more often; `each` one after the other. */
export type Draw = 'busy' | 'popular' | 'each'

/** Half of what Landfall keeps contexts of by default. */
const BUSY = 500
/** Prime, so that the ranks of any smaller number of names are spread over all of them. */
const STEP = 7_919

/** All of one length, as their certificates are. */
export function nameOf(index: number): string {
  return `n${String(index).padStart(7, '0')}.bench.test`
}

/** `rank` 0 is asked for most. */
export function nameOfRank(rank: number, names: number): string {
  return nameOf((rank * STEP) % names)
}

export function busyOf(names: number): number {
  return Math.min(BUSY, names)
}

/** Ranks without end; `each` goes on where `start` says. */
export function createDraw(draw: Draw, { names, start }: { readonly names: number; readonly start: number }) {
  if (draw === 'popular') return () => drawByZipf(names)
  if (draw === 'busy') return () => drawByZipf(busyOf(names))
  let next = start
  return () => next++ % names
}

/** Zipf's law with exponent 1: the rank r comes up in proportion to log((r + 2) / (r + 1)), nearly 1 / (r + 1). */
function drawByZipf(count: number): number {
  return Math.min(count - 1, Math.floor((count + 1) ** Math.random()) - 1)
}
