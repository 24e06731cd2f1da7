/** How many answers one part of the internet is sent: a forged source address must not make this server a weapon. */

import { randomBytes } from 'node:crypto'
import { isIPv6 } from 'node:net'

/** A flood of forged sources must cost no memory: 1 MiB, whatever comes. Two prefixes in one slot share its tokens. */
const SLOTS = 65_536
/** Of those above the rate each second one is asked to come over TCP, which nobody can forge. */
const SLIP = 2

export interface RateSettings {
  /** For one IPv4 /24 or IPv6 /56, refilled evenly. */
  readonly answersPerSecond: number
  /** At once. */
  readonly burst: number
  /** Milliseconds of any clock that does not jump. */
  readonly now: () => number
}

export type Verdict = 'answer' | 'truncate' | 'drop'

export interface AnswerRate {
  judge(address: string): Verdict
}

export function createAnswerRate({ answersPerSecond, burst, now }: RateSettings): AnswerRate {
  const tokens = new Float64Array(SLOTS).fill(burst)
  const seenAt = new Float64Array(SLOTS).fill(now())
  // Whoever knew the slots could share one with a resolver and starve it.
  const seed = randomBytes(4).readUInt32LE(0)
  let refused = 0
  return {
    judge: (address) => {
      const slot = findSlot(toPrefix(address), seed)
      const at = now()
      const refill = ((at - (seenAt[slot] ?? at)) / 1_000) * answersPerSecond
      const left = Math.min(burst, (tokens[slot] ?? 0) + refill)
      seenAt[slot] = at
      tokens[slot] = left >= 1 ? left - 1 : left
      if (left >= 1) return 'answer'
      refused += 1
      return refused % SLIP === 0 ? 'truncate' : 'drop'
    },
  }
}

/** The /24 of IPv4, mapped into IPv6 too, and the /56 of IPv6: what one site usually has. */
export function toPrefix(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '')
  if (!isIPv6(plain)) return plain.slice(0, plain.lastIndexOf('.'))
  const [head = '', tail] = plain.split('::')
  const groups = head === '' ? [] : head.split(':')
  const last = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros =
    tail === undefined ? [] : new Array<string>(Math.max(0, 8 - groups.length - last.length)).fill('0')
  const numbers = [...groups, ...zeros, ...last].slice(0, 4).map((group) => Number.parseInt(group, 16))
  const [first = 0, second = 0, third = 0, fourth = 0] = numbers
  return [first, second, third, fourth >> 8].map((number) => number.toString(16)).join(':')
}

/** FNV-1a with a secret start. */
function findSlot(text: string, seed: number): number {
  let hash = (0x811c9dc5 ^ seed) >>> 0
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193) >>> 0
  }
  return ((hash ^ (hash >>> 16)) >>> 0) % SLOTS
}
