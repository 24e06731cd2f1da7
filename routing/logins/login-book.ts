/** Logins in the store: sessions and their ends, codes and mails that one taker gets, share links in use. */

import type { Log } from '../../lib/log.ts'
import { RevisionConflict } from '../errors.ts'
import { commitPlanned, type Edit } from '../records/edits.ts'
import type { LoginCodeRecord, MailLoginRecord, SessionRecord } from '../records/logins.ts'
import { isPast } from '../records/moments.ts'
import {
  findSound,
  type Kind,
  LOGIN_CODES,
  MAIL_LOGINS,
  REVOCATIONS,
  SESSIONS,
} from '../records/record-kinds.ts'
import type { Document, Store, StoredDocument } from '../store/store.ts'
import { toDerived, toRawDeletion } from '../vms/vm-plans.ts'
import { LinkCounts } from './link-counts.ts'
import { findLink, type LinkOutcome, type LinkState, type LinkUse, useLink } from './link-uses.ts'
import { latestEndOf, planRevocation } from './revocations.ts'

export interface LoginBookDeps {
  readonly store: Pick<Store, 'get' | 'list' | 'commit'>
  readonly log: Log
  /** The system's clock unless given. */
  readonly now?: () => Date
}

type LoginCode = Omit<LoginCodeRecord, 'digest'>
type MailLogin = Omit<MailLoginRecord, 'digest'>

/** Everything is read from the store, never from memory. Every method @throws RoutingError `store_…` */
export function createLoginBook(deps: LoginBookDeps): LoginBook {
  return new LoginBook(deps)
}

class LoginBook {
  readonly #store: LoginBookDeps['store']
  readonly #log: Log
  readonly #now: () => Date
  readonly #counts = new LinkCounts()

  constructor({ store, log, now = () => new Date() }: LoginBookDeps) {
    this.#store = store
    this.#log = log
    this.#now = now
  }

  /** @throws RecordInvalid, RevisionConflict when there is one of this id */
  async putSession(session: SessionRecord): Promise<void> {
    await this.#putNew(SESSIONS, session)
  }

  /** False when it has ended, by itself, by its id, or with everything else of its user. */
  async hasSession(id: string): Promise<boolean> {
    const document = await this.#store.get(SESSIONS.prefix + id)
    const session = document && findSound(SESSIONS, document)?.record
    return session !== undefined && this.#isAhead(session) && !(await this.#isRevoked(session))
  }

  async endSession(id: string): Promise<void> {
    const at = this.#now()
    await commitPlanned(this.#store, async () => {
      const key = SESSIONS.prefix + id
      const before = await this.#store.get(key)
      const expiresAt = (before && findSound(SESSIONS, before)?.record.expiresAt) ?? latestEndOf(at)
      const revocation = await planRevocation(this.#store, { kind: 'session', value: id, expiresAt, at })
      return { edits: [...toDeletions(before), revocation] }
    })
  }

  /** @throws RecordInvalid */
  async revokeCredential(id: string, expiresAt: string): Promise<void> {
    const at = this.#now()
    await commitPlanned(this.#store, async () => {
      const edit = await planRevocation(this.#store, { kind: 'credential', value: id, expiresAt, at })
      return { edits: [edit] }
    })
  }

  /** @throws RecordInvalid, RevisionConflict */
  async putCode(digest: string, code: LoginCode): Promise<void> {
    await this.#putNew(LOGIN_CODES, { ...code, digest })
  }

  /** Of any number of takers one gets it, while the session that it stands for lasts. */
  async takeCode(digest: string): Promise<LoginCode | undefined> {
    const taken = await this.#take(LOGIN_CODES, digest)
    if (taken === undefined || !(await this.hasSession(taken.session.id))) return undefined
    const { digest: _digest, ...code } = taken
    return code
  }

  /** @throws RecordInvalid, RevisionConflict */
  async putMailLogin(digest: string, login: MailLogin): Promise<void> {
    await this.#putNew(MAIL_LOGINS, { ...login, digest })
  }

  async findMailLogin(digest: string): Promise<MailLogin | undefined> {
    const document = await this.#store.get(MAIL_LOGINS.prefix + digest)
    return this.#toMailLogin(document && findSound(MAIL_LOGINS, document)?.record)
  }

  async takeMailLogin(digest: string): Promise<MailLogin | undefined> {
    return this.#toMailLogin(await this.#take(MAIL_LOGINS, digest))
  }

  /** What a link is good for to somebody new; `full` where it takes a grant and the VM can have no more. */
  async findLink(vm: string, id: string): Promise<LinkState> {
    return findLink(this.#store, { vm, id }, this.#now())
  }

  /** Counts a use; with a person it writes a grant for them, unless they have one. */
  async useLink(use: LinkUse): Promise<LinkOutcome> {
    const outcome = await useLink(this.#store, use, { now: this.#now, counts: this.#counts })
    const { vm, id, person } = use
    this.#log.info({ vm, link: id, user: person?.user, outcome }, 'a share link was opened')
    return outcome
  }

  async #putNew<Value extends object>(kind: Kind<Value>, value: Value): Promise<void> {
    const record = kind.parse(value)
    await this.#store.commit([{ key: kind.keyOf(record), value: { ...record } as Document, ifRevision: 0 }])
  }

  /** Deletes it, and returns it to that one caller whose deletion it was, unless it has run out. */
  async #take<Value extends { readonly expiresAt: string }>(
    kind: Kind<Value>,
    name: string,
  ): Promise<Value | undefined> {
    const document = await this.#store.get(kind.prefix + name)
    if (document === undefined) return undefined
    const { key, revision } = document
    try {
      await this.#store.commit([{ key, value: undefined, ifRevision: revision }])
    } catch (error) {
      if (error instanceof RevisionConflict) return undefined
      throw error
    }
    const record = findSound(kind, document)?.record
    return record && this.#isAhead(record) ? record : undefined
  }

  #toMailLogin(record: MailLoginRecord | undefined): MailLogin | undefined {
    if (record === undefined || !this.#isAhead(record)) return undefined
    const { digest: _digest, ...login } = record
    return login
  }

  #isAhead({ expiresAt }: { readonly expiresAt: string }): boolean {
    return !isPast(expiresAt, this.#now())
  }

  /** What a user is told to leave ends before its record is deleted. */
  async #isRevoked({ user, createdAt }: SessionRecord): Promise<boolean> {
    const document = await this.#store.get(`${REVOCATIONS.prefix}user/${user}`)
    const at = document && findSound(REVOCATIONS, document)?.record.at
    return at !== undefined && Date.parse(createdAt) <= Date.parse(at)
  }
}

function toDeletions(before: StoredDocument | undefined): readonly Edit[] {
  return before ? [toDerived(toRawDeletion(before))] : []
}
