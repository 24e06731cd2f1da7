/** When what the API makes may end, and how a token says it. */

import { RecordInvalid } from '../errors.ts'
import { isPast } from '../records/moments.ts'

const MS_PER_DAY = 86_400_000
const MS_PER_SECOND = 1_000

/** @throws RecordInvalid with the field `/expiresAt` */
export function checkAhead(expiresAt: string | undefined, now: Date): void {
  if (isPast(expiresAt, now)) throw new RecordInvalid('/expiresAt', 'It must be in the future.')
}

/**
 * Of what is signed: the keys that check it are known for so long and no longer.
 * @throws RecordInvalid with the field `/expiresAt`
 */
export function checkEnd(
  expiresAt: string,
  { now, tokenDays }: { readonly now: Date; readonly tokenDays: number },
): void {
  checkAhead(expiresAt, now)
  if (Date.parse(expiresAt) - now.getTime() <= tokenDays * MS_PER_DAY) return
  throw new RecordInvalid(
    '/expiresAt',
    `It must be at most ${tokenDays} ${tokenDays === 1 ? 'day' : 'days'} ahead (LANDFALL_TOKEN_DAYS).`,
  )
}

/** The second that the moment falls in is its last. */
export function toUnixSeconds(expiresAt: string): number {
  return Math.ceil(Date.parse(expiresAt) / MS_PER_SECOND)
}
