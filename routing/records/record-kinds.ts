/** The kinds of records: where each one's keys begin, what ends them, and how a stored value is read. */

import type { Static, TObject } from 'typebox'
import { digestOf } from '../../lib/digest.ts'
import { RecordInvalid, RoutingError } from '../errors.ts'
import type { Store, StoredDocument } from '../store/store.ts'
import {
  ACME_ACCOUNT,
  ACME_BUDGET,
  CERTIFICATE,
  CHALLENGE,
  checkCertificate,
  checkChallenge,
  ORDER,
  RENEWAL,
  SIGHTING,
  TICKET_KEY,
} from './certificates.ts'
import { GRANT } from './grants.ts'
import { LOGIN_CODE, MAIL_LOGIN, REVOCATION, SESSION, SIGNING_KEY } from './logins.ts'
import {
  AUDIT,
  BINDING,
  DOMAIN,
  EDGE,
  HOST,
  KEY,
  POOL,
  REPORT,
  ROUTE,
  type RouteRecord,
  TOKEN,
  USAGE,
  VM,
} from './records.ts'
import { createRecordParser } from './schema.ts'
import { CALL, FORMER_OWNER, GRAVE, SNAPSHOT } from './vm-affairs.ts'

export interface Kind<Value> {
  /** Every key of the kind starts with it. */
  readonly prefix: string
  keyOf(record: Value): string
  /** A frozen record. @throws RecordInvalid, also when `key` is not the record's own */
  readonly parse: (value: unknown, key?: string) => Value
}

export interface Stored<Value> {
  readonly key: string
  readonly record: Value
  readonly revision: number
}

export const POOLS = kindOf('pool', POOL, ({ name }) => name)
export const VMS = kindOf('vm', VM, ({ name }) => name)
export const REPORTS = kindOf('report', REPORT, ({ name }) => name)
export const ROUTES = kindOf('route', ROUTE, ({ hostname }) => hostname, checkRoute)
export const BINDINGS = kindOf('binding', BINDING, ({ vm, hostname }) => `${vm}/${hostname}`)
export const DOMAINS = kindOf('domain', DOMAIN, ({ hostname }) => hostname)
export const GRANTS = kindOf('grant', GRANT, ({ vm, id }) => `${vm}/${id}`)
export const SNAPSHOTS = kindOf('snapshot', SNAPSHOT, ({ vm, id }) => `${vm}/${id}`)
export const GRAVES = kindOf('grave', GRAVE, ({ vm, vmCreatedAt, snapshot }) =>
  snapshot === undefined ? `${vm}/${vmCreatedAt}` : `${vm}/${vmCreatedAt}/${snapshot}`,
)
export const CALLS = kindOf('call', CALL, ({ vm }) => vm)
export const FORMER_OWNERS = kindOf('former-owner', FORMER_OWNER, ({ vm }) => vm)
export const SESSIONS = kindOf('session', SESSION, ({ id }) => id)
export const LOGIN_CODES = kindOf('login-code', LOGIN_CODE, ({ digest }) => digest)
export const MAIL_LOGINS = kindOf('mail-login', MAIL_LOGIN, ({ digest }) => digest)
/** A user's id may hold a slash, so it is the last part. */
export const REVOCATIONS = kindOf('revocation', REVOCATION, ({ kind, value }) => `${kind}/${value}`)
export const SIGNING_KEYS = kindOf('signing-key', SIGNING_KEY, ({ id }) => id)
export const CERTIFICATES = kindOf('certificate', CERTIFICATE, toSlot, checkCertificate)
export const RENEWALS = kindOf('renewal', RENEWAL, toSlot)
export const ORDERS = kindOf('order', ORDER, toSlot)
export const CHALLENGES = kindOf('challenge', CHALLENGE, ({ id }) => id, checkChallenge)
export const SIGHTINGS = kindOf('sighting', SIGHTING, ({ challenge, edge }) => `${challenge}/${edge}`)
export const ACME_ACCOUNTS = kindOf('acme-account', ACME_ACCOUNT, ({ ca }) => digestOf(ca))
/** A subject may hold a slash, so it is the last part. */
export const ACME_BUDGETS = kindOf('acme-budget', ACME_BUDGET, ({ limit, subject }) => `${limit}/${subject}`)
export const TICKET_KEYS = kindOf('ticket-key', TICKET_KEY, ({ id }) => id)
export const TOKENS = kindOf('token', TOKEN, ({ id }) => id)
export const KEYS = kindOf('key', KEY, ({ id }) => id)
export const HOSTS = kindOf('host', HOST, ({ name }) => name)
export const EDGES = kindOf('edge', EDGE, ({ name }) => name)
export const USAGES = kindOf('usage', USAGE, ({ pool, hour, source }) => `${pool}/${hour}/${source}`)
export const AUDITS = kindOf('audit', AUDIT, ({ id }) => id)

/** What is stored under `prefix + name`. @throws RoutingError `api_record_broken` when it breaks a rule of its kind */
export async function findRecord<Value>(
  store: Pick<Store, 'get'>,
  kind: Kind<Value>,
  name: string,
): Promise<Stored<Value> | undefined> {
  const document = await store.get(kind.prefix + name)
  return document && toStored(kind, document)
}

/** @throws RoutingError `api_record_broken` */
export function toStored<Value>(kind: Kind<Value>, { key, value, revision }: StoredDocument): Stored<Value> {
  try {
    return { key, record: kind.parse(value, key), revision }
  } catch (cause) {
    if (!(cause instanceof RecordInvalid)) throw cause
    // The field is a JSON pointer, which goes on where the key ends.
    throw new RoutingError('api_record_broken', { cause, detail: `${key}${cause.field}: ${cause.message}` })
  }
}

/** Every record whose key starts with the kind's prefix and `rest`; those that break a rule are left out. */
export async function* listRecords<Value>(
  store: Pick<Store, 'list'>,
  kind: Kind<Value>,
  rest = '',
): AsyncIterable<Stored<Value>> {
  const prefix = kind.prefix + rest
  for (let after: string | undefined = ''; after !== undefined; ) {
    const page = await store.list(prefix, { after })
    for (const document of page.documents) {
      const stored = findSound(kind, document)
      if (stored) yield stored
    }
    after = page.next
  }
}

/** Undefined for a document that breaks a rule of its kind, which `onBroken` is told of. */
export function findSound<Value>(
  kind: Kind<Value>,
  document: StoredDocument,
  onBroken: (error: RoutingError) => void = () => {},
): Stored<Value> | undefined {
  try {
    return toStored(kind, document)
  } catch (error) {
    if (!(error instanceof RoutingError)) throw error
    onBroken(error)
    return undefined
  }
}

function kindOf<Schema extends TObject>(
  name: string,
  schema: Schema,
  nameOf: (record: Static<Schema>) => string,
  check: (record: Static<Schema>) => void = () => {},
): Kind<Static<Schema>> {
  const prefix = `${name}/`
  const parse = createRecordParser(schema)
  const keyOf = (record: Static<Schema>) => prefix + nameOf(record)
  return {
    prefix,
    keyOf,
    parse: (value, key) => {
      const record = parse(value)
      check(record)
      if (key === undefined || key === keyOf(record)) return record
      throw new RecordInvalid('', `It does not match the record's key "${key}".`)
    },
  }
}

/** What certificates, their renewals and their orders are found by. */
export function toSlot({ name, keyType }: { readonly name: string; readonly keyType: string }): string {
  return `${name}/${keyType}`
}

/** A row leads to a VM's port, or to a bare address. */
function checkRoute({ vm, port, upstream, state }: RouteRecord): void {
  if (vm !== undefined && port === undefined) throw new RecordInvalid('/port', 'It must be there with "vm".')
  if (vm === undefined && port !== undefined) throw new RecordInvalid('/vm', 'It must be there with "port".')
  if (vm === undefined && state === 'asleep') throw new RecordInvalid('/state', 'Only a VM can be asleep.')
  if (vm === undefined && upstream === undefined) {
    throw new RecordInvalid('/upstream', 'It must be there when there is no "vm".')
  }
}
