/** Tells the other edges which challenges this one has in memory: a record for each, written in batches until it is done. */

import type { Log } from '../../lib/log.ts'
import { pause } from '../../lib/pause.ts'
import type { ChallengeRecord } from '../records/certificates.ts'
import { isPast } from '../records/moments.ts'
import { SIGHTINGS } from '../records/record-kinds.ts'
import type { Mutation, Store } from '../store/store.ts'
import { toDeletion, toWrite } from './books-store.ts'

export interface SightingsDeps {
  readonly store: Pick<Store, 'get' | 'commit'>
  readonly log: Log
  /** What is in memory now; a challenge that is gone by the time of the write is not written. */
  readonly find: (id: string) => ChallengeRecord | undefined
}

export interface SightingsSettings {
  readonly edgeName: string
  /** The first wait after a failure; it doubles up to `maxRetryMs`. */
  readonly minRetryMs: number
  readonly maxRetryMs: number
  /** Unix milliseconds. */
  readonly now: () => number
}

/** Of one commit: 20 edges that answer for a thousand challenges at once leave room for others in the feed. */
const BATCH = 200

/** `fresh`: this process has not written it. `doubted`: it may be there. `gone`: the challenge is no longer in memory. */
export type Doing = 'fresh' | 'doubted' | 'gone'

export class Sightings implements AsyncDisposable {
  readonly #deps: SightingsDeps
  readonly #settings: SightingsSettings
  readonly #stop = new AbortController()
  /** By challenge. */
  readonly #todo = new Map<string, Doing>()
  #running: Promise<void> | undefined

  constructor(deps: SightingsDeps, settings: SightingsSettings) {
    this.#deps = deps
    this.#settings = settings
  }

  note(id: string, doing: Doing): void {
    this.#todo.set(id, doing)
    if (!this.#stop.signal.aborted) this.#running ??= this.#run()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    // What is noted in the same turn goes with it.
    await Promise.resolve()
    let failures = 0
    while (this.#todo.size > 0 && !this.#stop.signal.aborted) {
      const batch = this.#take()
      try {
        await this.#write(batch)
        failures = 0
      } catch (error) {
        if (failures === 0)
          this.#deps.log.warn({ err: error }, 'this edge cannot say which challenges it has')
        this.#giveBack(batch)
        await this.#waitToRetry(failures)
        failures += 1
      }
    }
    this.#running = undefined
  }

  #take(): ReadonlyMap<string, Doing> {
    const batch = new Map([...this.#todo.entries()].slice(0, BATCH))
    for (const id of batch.keys()) this.#todo.delete(id)
    return batch
  }

  /** Behind what was noted meanwhile, and not in its place. */
  #giveBack(batch: ReadonlyMap<string, Doing>): void {
    for (const [id, doing] of batch) {
      if (!this.#todo.has(id)) this.#todo.set(id, doing)
    }
  }

  async #write(batch: ReadonlyMap<string, Doing>): Promise<void> {
    const mutations = await Promise.all([...batch].map(([id, doing]) => this.#toMutation(id, doing)))
    const writes = mutations.filter((mutation) => mutation !== undefined)
    if (writes.length > 0) await this.#deps.store.commit(writes)
  }

  async #toMutation(id: string, doing: Doing): Promise<Mutation | undefined> {
    const { edgeName, now } = this.#settings
    const key = `${SIGHTINGS.prefix}${id}/${edgeName}`
    const challenge = this.#deps.find(id)
    if (doing === 'gone') return challenge === undefined ? toDeletion(key) : undefined
    if (challenge === undefined || isPast(challenge.expiresAt, new Date(now()))) return undefined
    // After a resync all are doubted: twenty edges that wrote them all again would drive each other into the next one.
    if (doing === 'doubted' && (await this.#deps.store.get(key)) !== undefined) return undefined
    return toWrite(SIGHTINGS, { challenge: id, edge: edgeName, expiresAt: challenge.expiresAt })
  }

  async #waitToRetry(failures: number): Promise<void> {
    const { minRetryMs, maxRetryMs } = this.#settings
    await pause(Math.min(maxRetryMs, minRetryMs * 2 ** failures), this.#stop.signal)
  }
}
