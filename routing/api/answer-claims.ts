/** Claims on an Idempotency-Key: who runs, who has to wait, and the answer that is given again. */

import { type Static, Type } from 'typebox'
import { RevisionConflict, type RoutingCode, RoutingError } from '../errors.ts'
import { createRecordParser, ID, INSTANT } from '../records/schema.ts'
import { openSecret } from '../secrets.ts'
import type { Store, StoredDocument } from '../store/store.ts'
import type { ApiContext } from './context.ts'
import type { Answer } from './idempotency.ts'

/** An answer is given again for a day. */
const KEEP_MS = 86_400_000
/** A run that says nothing for so long has crashed, and nobody knows how far it came. */
const CRASHED_MS = 60_000
const RENEW_MS = 20_000
/** Each lost attempt means that another request took the key, or let it go. */
const MAX_ATTEMPTS = 20

const RECORD = Type.Object({
  /** SHA-256 of method, path and body. */
  digest: ID,
  /** When the run last said that it goes on, or when it ended. */
  at: INSTANT,
  /** Sealed: it may hold a token's secret. Absent while the run goes on. */
  answer: Type.Optional(Type.Object({ sealed: Type.String(), keyId: Type.String(), data: Type.String() })),
  /** The run failed in a way that does not tell whether it had its effect. */
  isUnknown: Type.Optional(Type.Boolean({ description: 'true or false' })),
})
const parseRecord = createRecordParser(RECORD)

interface ClaimPlace {
  readonly key: string
  readonly digest: string
}

export interface ClaimRequest extends ClaimPlace {
  /** Called before anything is written. Throws to refuse. */
  readonly check: () => void
}

/** The caller's own claim, to be kept, doubted or freed, or the answer of the run that was there first. */
export async function openClaim(
  context: ApiContext,
  wanted: ClaimRequest,
): Promise<AnswerClaim | { readonly answer: Answer }> {
  const { store, now } = context
  for (let attempt = 1; ; attempt += 1) {
    const document = await store.get(wanted.key)
    const answer = findAnswer(context, wanted, document)
    if (answer) return { answer }
    wanted.check()
    const value = { digest: wanted.digest, at: now().toISOString() }
    try {
      const revision = await store.put(wanted.key, value, { ifRevision: document?.revision ?? 0 })
      return new AnswerClaim(context, { ...wanted, revision })
    } catch (error) {
      if (!(error instanceof RevisionConflict) || attempt === MAX_ATTEMPTS) throw error
    }
  }
}

/** True when it is too old, or not what is written here. */
function isSpent({ value }: Pick<StoredDocument, 'value'>, now: Date): boolean {
  const record = findRecord(value)
  return record === undefined || now.getTime() - Date.parse(record.at) >= KEEP_MS
}

/**
 * Undefined when the key is free. @throws RoutingError `api_idempotency_mismatch`, `api_idempotency_busy`,
 * `api_idempotency_unknown`, `secret_unreadable`
 */
function findAnswer(
  { sealer, now }: ApiContext,
  { key, digest }: ClaimPlace,
  document: StoredDocument | undefined,
): Answer | undefined {
  if (document === undefined || isSpent(document, now())) return undefined
  const record = parseRecord(document.value)
  if (record.digest !== digest) throw new RoutingError('api_idempotency_mismatch')
  if (record.answer === undefined) throw new RoutingError(whyUnanswered(record, now()))
  return JSON.parse(openSecret(sealer, record.answer, key).toString()) as Answer
}

function whyUnanswered({ isUnknown, at }: Static<typeof RECORD>, now: Date): RoutingCode {
  const isCrashed = now.getTime() - Date.parse(at) >= CRASHED_MS
  return isUnknown || isCrashed ? 'api_idempotency_unknown' : 'api_idempotency_busy'
}

function findRecord(value: unknown) {
  try {
    return parseRecord(value)
  } catch {
    return undefined
  }
}

/** Says every 20 seconds that the run goes on, until it is kept, freed or disposed. */
export class AnswerClaim implements AsyncDisposable {
  readonly #context: ApiContext
  readonly #wanted: ClaimPlace
  readonly #timer: NodeJS.Timeout
  #revision: number
  /** Writes follow each other: each needs the revision of the one before. */
  #last: Promise<void> = Promise.resolve()

  constructor(context: ApiContext, { revision, ...wanted }: ClaimPlace & { readonly revision: number }) {
    this.#context = context
    this.#wanted = wanted
    this.#revision = revision
    this.#timer = setInterval(() => void this.#write((store) => this.#put(store, {})), RENEW_MS)
    this.#timer.unref()
  }

  /** Never rejects: the run has had its effect, and its answer is right whether it can be kept or not. */
  keep(answer: Answer): Promise<void> {
    clearInterval(this.#timer)
    const sealed = this.#context.sealer.seal(JSON.stringify(answer), this.#wanted.key)
    return this.#write((store) => this.#put(store, { answer: sealed }))
  }

  /** For a run of which nobody knows whether it had its effect: no other one may follow. */
  doubt(): Promise<void> {
    clearInterval(this.#timer)
    return this.#write((store) => this.#put(store, { isUnknown: true }))
  }

  free(): Promise<void> {
    clearInterval(this.#timer)
    return this.#write(async (store) => {
      await store.delete(this.#wanted.key, { ifRevision: this.#revision })
      return 0
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    await this.#last
  }

  #put(store: Store, more: object): Promise<number> {
    const { key, digest } = this.#wanted
    const value = { digest, at: this.#context.now().toISOString(), ...more }
    return store.put(key, value, { ifRevision: this.#revision })
  }

  #write(write: (store: Store) => Promise<number>): Promise<void> {
    this.#last = this.#last.then(async () => {
      try {
        this.#revision = await write(this.#context.store)
      } catch (error) {
        const fields = { err: error, key: this.#wanted.key }
        this.#context.log.warn(fields, 'an answer could not be kept for its Idempotency-Key')
      }
    })
    return this.#last
  }
}
