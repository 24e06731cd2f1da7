/** What one round measures, and what several rounds say together. */

export interface Sample {
  /** CPU time of the measured process tree for one request, user and system. */
  readonly cpuMicros: number
  readonly rps: number
  readonly p99Ms: number
}

/** Each column's median by itself. @throws RangeError when there is no sample */
export function medianOf(samples: readonly Sample[]): Sample {
  return {
    cpuMicros: median(samples.map(({ cpuMicros }) => cpuMicros)),
    rps: median(samples.map(({ rps }) => rps)),
    p99Ms: median(samples.map(({ p99Ms }) => p99Ms)),
  }
}

/** @throws RangeError when there is no value */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const upper = sorted[Math.floor(sorted.length / 2)]
  const lower = sorted[Math.ceil(sorted.length / 2) - 1]
  if (upper === undefined || lower === undefined) throw new RangeError('nothing has no median')
  return (upper + lower) / 2
}

/** How far the rounds lie apart: largest less smallest, as a share of the median. */
export function spread(values: readonly number[]): number {
  return (Math.max(...values) - Math.min(...values)) / median(values)
}
