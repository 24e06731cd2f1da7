/** Changes of the store as server-sent events (WHATWG HTML section 9.2). */

import { RecordInvalid } from '../errors.ts'
import type { GrantRecord } from '../records/grants.ts'
import {
  DOMAINS,
  EDGES,
  GRANTS,
  HOSTS,
  KEYS,
  type Kind,
  POOLS,
  REPORTS,
  ROUTES,
  SNAPSHOTS,
  TOKENS,
  VMS,
} from '../records/record-kinds.ts'
import type {
  DomainRecord,
  EdgeRecord,
  HostRecord,
  KeyRecord,
  PoolRecord,
  ReportRecord,
  RouteRecord,
  TokenRecord,
  VmRecord,
} from '../records/records.ts'
import type { SnapshotRecord } from '../records/vm-affairs.ts'
import type { Change } from '../store/store.ts'

/** The records that events tell of, by the name of their kind, with as much of them as the API shows. */
interface EventRecords {
  readonly pool: PoolRecord
  readonly vm: VmRecord
  readonly report: Omit<ReportRecord, 'ports'> & { readonly ports: readonly number[] }
  readonly route: RouteRecord
  readonly domain: DomainRecord
  readonly grant: GrantRecord
  readonly snapshot: SnapshotRecord
  readonly host: HostRecord
  readonly edge: EdgeRecord
  readonly key: KeyRecord
  readonly token: Omit<TokenRecord, 'digest'>
}

export type EventKind = keyof EventRecords

/** A change that events tell of. `record` is absent after a deletion, and when what is stored breaks a rule of its kind. */
export type RecordChange = {
  readonly [Name in EventKind]: {
    readonly kind: Name
    /** The key without its kind. */
    readonly name: string
    readonly key: string
    readonly revision: number
    readonly action: 'put' | 'delete'
    readonly record: EventRecords[Name] | undefined
  }
}[EventKind]

const KINDS: { readonly [Name in EventKind]: Pick<Kind<EventRecords[Name]>, 'parse'> } = {
  pool: POOLS,
  vm: VMS,
  report: { parse: (value, key) => withoutAddresses(REPORTS.parse(value, key)) },
  route: { parse: (value, key) => withoutUpstream(ROUTES.parse(value, key)) },
  domain: DOMAINS,
  grant: GRANTS,
  snapshot: SNAPSHOTS,
  host: HOSTS,
  edge: EDGES,
  key: KEYS,
  token: { parse: (value, key) => withoutDigest(TOKENS.parse(value, key)) },
}

export const EVENT_KINDS = Object.keys(KINDS) as readonly EventKind[]

/** Many streams tell of the same change. */
const parsed = new WeakMap<Change, RecordChange>()
const texts = new WeakMap<RecordChange, string>()

/** Undefined for a change that no event tells of. */
export function findRecordChange(change: Change): RecordChange | undefined {
  const known = parsed.get(change)
  if (known !== undefined) return known
  const { key, value, revision } = change
  const slash = key.indexOf('/')
  const kind = key.slice(0, slash) as EventKind
  if (slash < 0 || !Object.hasOwn(KINDS, kind)) return undefined
  const action = value === undefined ? 'delete' : 'put'
  const record = value && findShown(kind, change)
  const found = { kind, name: key.slice(slash + 1), key, revision, action, record } as RecordChange
  parsed.set(change, found)
  return found
}

/** One event, with its empty line. */
export function toEventText(change: RecordChange): string {
  const known = texts.get(change)
  if (known !== undefined) return known
  const { kind, name, revision, action, record } = change
  const data = { revision, kind, name, action, ...(record && { record }) }
  const text = `id: ${revision}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`
  texts.set(change, text)
  return text
}

/** For a reader that may not see the record any more. */
export function toVanishedText({ kind, name, revision }: RecordChange): string {
  const data = { revision, kind, name, action: 'delete' }
  return `id: ${revision}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`
}

/** Something may have been missed: list again; events go on from `revision`. */
export function toResyncText(revision: number): string {
  return `id: ${revision}\nevent: resync\ndata: ${JSON.stringify({ revision })}\n\n`
}

/** Events without data are not told to a page's script, but their id counts when the browser comes back. */
export function toIdText(revision: number): string {
  return `id: ${revision}\n\n`
}

export function toComment(text: string): string {
  return `: ${text}\n\n`
}

function findShown(kind: EventKind, { value, key }: Change): object | undefined {
  try {
    return KINDS[kind].parse(value, key)
  } catch (error) {
    if (!(error instanceof RecordInvalid)) throw error
    return undefined
  }
}

/** Where a VM is, inside the network, is not shown. */
function withoutAddresses({ ports, ...shown }: ReportRecord) {
  return { ...shown, ports: Object.keys(ports).map(Number) }
}

function withoutUpstream(route: RouteRecord): RouteRecord {
  if (route.vm === undefined) return route
  const { upstream: _upstream, ...shown } = route
  return shown
}

function withoutDigest({ digest: _digest, ...shown }: TokenRecord) {
  return shown
}
