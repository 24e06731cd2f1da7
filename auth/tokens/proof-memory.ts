/** Remembers which DPoP proofs were used on this edge, in bounded memory (RFC 9449 section 11.1). */

import { hash } from 'node:crypto'

export interface ProofMemorySettings {
  /** A proof counts for less than this long; milliseconds. */
  readonly windowMs: number
  /** In a window, of all keys and of one key. */
  readonly maxProofs: number
  readonly maxPerKey: number
}

interface Generation {
  readonly digests: Set<string>
  readonly countByKey: Map<string, number>
}

/** What is added is found for one window at least, and for two at most. */
export class ProofMemory {
  readonly #settings: ProofMemorySettings
  #current = createGeneration()
  #previous = createGeneration()
  #turnAtMs = 0

  constructor(settings: ProofMemorySettings) {
    this.#settings = settings
  }

  has(key: string, id: string, nowMs: number): boolean {
    this.#turn(nowMs)
    const digest = digestOf(key, id)
    return this.#current.digests.has(digest) || this.#previous.digests.has(digest)
  }

  /** False when no more fit; forgetting one instead would let it be used again. */
  add(key: string, id: string, nowMs: number): boolean {
    this.#turn(nowMs)
    const { digests, countByKey } = this.#current
    const count = countByKey.get(key) ?? 0
    if (digests.size >= this.#settings.maxProofs || count >= this.#settings.maxPerKey) return false
    digests.add(digestOf(key, id))
    countByKey.set(key, count + 1)
    return true
  }

  #turn(nowMs: number): void {
    if (nowMs < this.#turnAtMs) return
    // After a pause of two windows nothing that is known counts any more.
    const isLongAgo = nowMs >= this.#turnAtMs + this.#settings.windowMs
    this.#previous = isLongAgo ? createGeneration() : this.#current
    this.#current = createGeneration()
    this.#turnAtMs = nowMs + this.#settings.windowMs
  }
}

function createGeneration(): Generation {
  return { digests: new Set(), countByKey: new Map() }
}

/** An id is as long as its maker likes; a key's thumbprint has no space. */
function digestOf(key: string, id: string): string {
  return hash('sha256', `${key} ${id}`, 'base64url')
}
