/** Which certificate a renewal speaks of: a newer one under the same name starts without. */

/** Unix milliseconds. */
export interface RenewalSubject {
  readonly notAfterMs: number
  readonly createdAtMs: number
}

/** NaN where a text cannot be read, which is equal to nothing. */
export function parseRenewalOf(of: string): RenewalSubject {
  const [notAfter = '', createdAt = ''] = of.split(' ')
  return { notAfterMs: Date.parse(notAfter), createdAtMs: Date.parse(createdAt) }
}

export function isRenewalOf(
  of: string,
  { notAfter, createdAt }: { readonly notAfter: string; readonly createdAt: string },
): boolean {
  const subject = parseRenewalOf(of)
  return subject.notAfterMs === Date.parse(notAfter) && subject.createdAtMs === Date.parse(createdAt)
}
