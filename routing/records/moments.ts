/** Moments as records have them: ISO 8601. */

/** False for what has no end. */
export function isPast(expiresAt: string | undefined, now: Date): boolean {
  return expiresAt !== undefined && Date.parse(expiresAt) <= now.getTime()
}

/** The same one when there is no other. */
export function laterOf(one: string, other = one): string {
  return Date.parse(one) < Date.parse(other) ? other : one
}
