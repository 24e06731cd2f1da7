/** Moments as records and answers have them. */

/** Of Unix milliseconds: ISO 8601 in UTC. */
export function toMoment(ms: number): string {
  return new Date(ms).toISOString()
}
