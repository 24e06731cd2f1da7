/** Session cookies that were verified before: whoever has one is not kept out by forgeries that come from their network. */

import { digestOf } from '../../lib/digest.ts'
import type { Access } from '../access.ts'
import type { Claims } from '../signing/signing.ts'
import { readShape } from '../tokens/token-shape.ts'
import { TwoGenerations } from '../tokens/two-generations.ts'

const MAX_SESSIONS = 20_000
const MS_PER_S = 1_000

export interface SeenSessions {
  /** Undefined for one that has to be verified, again or for the first time. */
  find(text: string): Claims | undefined
  /** Its signature was good, and its key is ours. */
  add(text: string, claims: Claims): void
}

interface Seen {
  readonly claims: Claims
  readonly keyId: string
}

/** `now`: Unix milliseconds. */
export function createSeenSessions(access: Pick<Access, 'findSigningKey'>, now: () => number): SeenSessions {
  const seen = new TwoGenerations<Seen>(MAX_SESSIONS)
  return {
    find: (text) => {
      const { claims, keyId } = seen.find(digestOf(text)) ?? {}
      if (claims === undefined || keyId === undefined) return undefined
      const isGood = claims.exp * MS_PER_S > now() && access.findSigningKey(keyId) !== undefined
      return isGood ? claims : undefined
    },
    add: (text, claims) => seen.set(digestOf(text), { claims, keyId: readShape(text).header.kid }),
  }
}
