/** Asks CAs when certificates are to be replaced (RFC 9773), as often as each CA wants to be asked. */

import { setImmediate as turn } from 'node:timers/promises'
import { HOUR_MS } from '../../lib/durations.ts'
import type { KnownCertificate } from '../books.ts'
import { findCertId } from '../ca/ari.ts'
import type { Ca, RenewalInfo } from '../ca/ca.ts'
import { CaProblem } from '../ca/ca-problem.ts'
import { type CertificateRow, toSlot } from '../rows.ts'
import { ASK_MS, planByWindow, planWithoutWindow } from './renewal-plan.ts'
import type { FullRenewalsSettings, RenewalsDeps } from './renewal-settings.ts'

/** After a question without an answer (RFC 9773 section 4.3.3: temporary errors are asked again, with pauses). */
const RETRY_MS = HOUR_MS
/** A CA that does not answer costs each question a time limit; the rest waits for a later sweep. */
const MAX_SILENCES = 3
const SILENCE_MS = 60_000
/** More in a row: the store is away, and no CA need be asked. */
const MAX_REFUSALS = 3
/** Of one run; what is due or hurried waits for its end. */
const MAX_QUESTIONS = 200
/** Of certificates that are passed over, between two turns of the event loop: some milliseconds. */
const SLICE = 200

export interface WindowQuestions {
  /**
   * Writes what comes out of it into the renewal rows. Resolves to whether more are left that can be asked at once;
   * rejects when the store does not take it.
   */
  ask(certificates: readonly KnownCertificate[], signal: AbortSignal): Promise<boolean>
}

export function createWindowQuestions(deps: RenewalsDeps, settings: FullRenewalsSettings): WindowQuestions {
  const asker = new Asker(deps, settings)
  return { ask: (certificates, signal) => asker.ask(certificates, signal) }
}

class Asker implements WindowQuestions {
  readonly #deps: RenewalsDeps
  readonly #settings: FullRenewalsSettings
  /** Until when nothing is asked, by a CA's directory or by a certificate's name and key type. */
  readonly #quietUntilMs = new Map<string, number>()
  /** Of each CA in a row. */
  readonly #silences = new Map<string, number>()
  /** Of the book in a row. */
  #refusals = 0

  constructor(deps: RenewalsDeps, settings: FullRenewalsSettings) {
    this.#deps = deps
    this.#settings = settings
  }

  async ask(certificates: readonly KnownCertificate[], signal: AbortSignal): Promise<boolean> {
    const { cas } = this.#deps
    const nowMs = this.#settings.now()
    for (const [what, untilMs] of this.#quietUntilMs) if (untilMs <= nowMs) this.#quietUntilMs.delete(what)
    if (cas.every(({ directory }) => this.#quietUntilMs.has(directory))) return false
    const queue = certificates.values()
    let asked = 0
    let passed = 0
    this.#refusals = 0
    const work = async (): Promise<void> => {
      for (const known of queue) {
        signal.throwIfAborted()
        if (await this.#askOne(known, signal)) asked += 1
        else passed += 1
        if (asked >= MAX_QUESTIONS) return
        if (passed % SLICE === SLICE - 1) await turn(undefined, { signal })
      }
    }
    // None goes on behind the end of the look, whatever becomes of the others.
    const workers = Array.from({ length: this.#settings.questionsAtOnce }, work)
    const ended = await Promise.allSettled(workers)
    const failed = ended.find((one) => one.status === 'rejected')
    if (failed !== undefined) throw failed.reason
    return asked >= MAX_QUESTIONS
  }

  /** Resolves to whether it was asked about. */
  async #askOne(known: KnownCertificate, signal: AbortSignal): Promise<boolean> {
    const row = known.read()
    const ca = this.#deps.cas.find(({ directory }) => directory === row.ca)
    if (this.#quietUntilMs.has(toSlot(row)) || (ca && this.#quietUntilMs.has(ca.directory))) return false
    try {
      await this.#deps.books.certificates.putRenewal(await this.#plan(known, { row, ca, signal }))
      this.#refusals = 0
    } catch (error) {
      signal.throwIfAborted()
      this.#refusals += 1
      if (this.#refusals > MAX_REFUSALS) throw error
      // One row that cannot be written must not keep the others from being asked.
      this.#deps.log.warn({ err: error, name: row.name }, 'when to renew could not be kept')
      this.#rest(toSlot(row), RETRY_MS)
    }
    return true
  }

  async #plan(known: KnownCertificate, { row, ca, signal }: Question) {
    const chance = { nowMs: this.#settings.now(), random: this.#settings.random }
    try {
      const info = await findInfo(ca, row, signal)
      if (ca) this.#silences.delete(ca.directory)
      tellWhy(this.#deps, known, info)
      return info === undefined
        ? planWithoutWindow(row, known, chance)
        : planByWindow(row, known, { info, ...chance })
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof CaProblem)) throw error
      const retryMs = error.isMissing ? ASK_MS : RETRY_MS
      const askInMs = Math.max(retryMs, error.problem.retryAfterMs ?? 0)
      if (ca) this.#noteProblem(ca, error, row)
      return planWithoutWindow(row, known, { askInMs, ...chance })
    }
  }

  /** A CA that wants to be left alone means all questions; one that is silent is asked no more than a few times. */
  #noteProblem({ directory }: Ca, error: CaProblem, { name }: CertificateRow): void {
    const { log } = this.#deps
    if (error.code === 'ca_limited') {
      const { retryAfterMs = RETRY_MS } = error.problem
      if (!this.#quietUntilMs.has(directory)) {
        log.warn({ err: error, name, ca: directory }, 'the authority wants to be asked later when to renew')
      }
      this.#rest(directory, Math.max(retryAfterMs, SILENCE_MS))
      return
    }
    // It knows nothing of this certificate (RFC 9773 section 4.1): the fallback is right.
    if (error.isMissing) return
    log.warn({ err: error, name }, 'the authority does not say when to renew')
    if (!error.isTransient) return
    const silences = (this.#silences.get(directory) ?? 0) + 1
    this.#silences.set(directory, silences)
    if (silences >= MAX_SILENCES) this.#rest(directory, SILENCE_MS)
  }

  #rest(what: string, ms: number): void {
    this.#quietUntilMs.set(what, this.#settings.now() + ms)
  }
}

interface Question {
  readonly row: CertificateRow
  /** Undefined when the settings do not name it any more. */
  readonly ca: Ca | undefined
  readonly signal: AbortSignal
}

async function findInfo(
  ca: Ca | undefined,
  { chain: [leaf] }: CertificateRow,
  signal: AbortSignal,
): Promise<RenewalInfo | undefined> {
  const certId = leaf === undefined ? undefined : findCertId(Buffer.from(leaf, 'base64'))
  if (ca === undefined || certId === undefined) return undefined
  return ca.findRenewalInfo(certId, signal)
}

/** RFC 9773 section 4.2: people are to be shown the page. */
function tellWhy({ log }: RenewalsDeps, { name, renewal }: KnownCertificate, info?: RenewalInfo): void {
  if (info?.explanationUrl === undefined || info.startMs === renewal?.windowStartMs) return
  log.info({ name, explanationUrl: info.explanationUrl }, 'an authority explains a renewal')
}
