/** How often one login or one network may have others work for it: what counts costs a visitor nothing else. */

import { toClient } from '../../lib/client-address.ts'
import { TwoGenerations } from '../tokens/two-generations.ts'
import { LoginError } from './errors.ts'

/** People restore windows of a hundred tabs, and whole classes open one link. */
const PER_MINUTE = 120
const MINUTE_MS = 60_000
const MAX_KEYS = 20_000

export interface WriteLimits {
  /** By the session's id. @throws LoginError `login_too_often` */
  spendCode(sessionId: string): void
  /** @throws LoginError `login_too_often` */
  spendLink(clientAddress: string): void
  /** @throws LoginError `login_too_often` */
  spendSession(user: string): void
  /** A question to the login provider. @throws LoginError `login_too_often` */
  spendProvider(clientAddress: string): void
}

interface Bucket {
  tokens: number
  /** When `tokens` was right; Unix milliseconds. */
  at: number
}

/** `now`: Unix milliseconds. */
export function createWriteLimits(now: () => number): WriteLimits {
  const buckets = new TwoGenerations<Bucket>(MAX_KEYS)
  const spend = (key: string) => {
    const bucket = refill(buckets.find(key), now())
    buckets.set(key, bucket)
    if (bucket.tokens < 1) throw new LoginError('login_too_often')
    bucket.tokens -= 1
  }
  return {
    spendCode: (sessionId) => spend(`code ${sessionId}`),
    spendLink: (clientAddress) => spend(`link ${toClient(clientAddress)}`),
    spendSession: (user) => spend(`session ${user}`),
    spendProvider: (clientAddress) => spend(`provider ${toClient(clientAddress)}`),
  }
}

function refill(bucket: Bucket | undefined, nowMs: number): Bucket {
  if (bucket === undefined) return { tokens: PER_MINUTE, at: nowMs }
  const gained = (Math.max(0, nowMs - bucket.at) * PER_MINUTE) / MINUTE_MS
  return { tokens: Math.min(PER_MINUTE, bucket.tokens + gained), at: nowMs }
}
