/** What a body makes of a grant: whom it means in one canonical form, which ports, and until when. */

import { type Static, Type } from 'typebox'
import { RecordInvalid, RoutingError } from '../errors.ts'
import { isLabel, toHostname } from '../records/hostname.ts'
import { GRANTS } from '../records/record-kinds.ts'
import { GRANT, GRANTEE, type GrantRecord, type VmRecord } from '../records/records.ts'
import type { VmParts } from '../vms/vm-parts.ts'
import type { ApiContext } from './context.ts'
import { strict } from './schemas.ts'

/** Each row of a VM carries those that count for its port. */
export const MAX_GRANTS = 100

const { ports, role, expiresAt } = GRANT.properties
export const GRANT_BODY = strict(
  {
    to: Type.Object(GRANTEE.properties, {
      additionalProperties: false,
      description: 'whom the grant lets in: {"kind", "value"}',
    }),
    ports,
    role,
    expiresAt,
  },
  { examples: [{ to: { kind: 'email', value: 'ann@example.test' }, role: 'viewer', ports: [8000] }] },
)

export type GrantBody = Static<typeof GRANT_BODY>
type Grantee = GrantRecord['to']

/** RFC 5321 section 4.5.3.1.1 allows 64 bytes before the @; quoted names are left to those who want trouble. */
const EMAIL = /^(?<user>[^\s"(),:;<>@[\\\]\p{Cc}]{1,64})@(?<host>[^@]+)$/u
const MAX_EMAIL_CHARACTERS = 254
/** What a login says of a user: any visible ASCII. */
const USER_ID = /^[\x21-\x7e]+$/
const LINK_ID = /^[A-Za-z0-9_-]{1,64}$/

export interface GrantDemand {
  readonly id: string
  readonly body: GrantBody
  readonly createdBy: string
  /** The VM that the grant lets connect. */
  readonly peer?: Pick<VmRecord, 'createdAt'> | undefined
}

/**
 * A grant to a VM counts for that VM alone, and for none that has its name later: it is never older than the VM.
 * @throws RecordInvalid, RoutingError `api_name_taken` when the same is granted already
 */
export function toGrant(
  context: Pick<ApiContext, 'now'>,
  { name, grants }: VmParts,
  { id, body, createdBy, peer }: GrantDemand,
): GrantRecord {
  const key = `${GRANTS.prefix}${name}/${id}`
  const before = grants.find((stored) => stored.key === key)?.record
  const { expiresAt, role } = body
  const now = context.now()
  if (expiresAt !== undefined && Date.parse(expiresAt) <= now.getTime()) {
    throw new RecordInvalid('/expiresAt', 'It must be in the future.')
  }
  const ports = body.ports && [...new Set(body.ports)].sort((one, other) => one - other)
  const record = GRANTS.parse({
    id,
    vm: name,
    to: toGrantee(body.to),
    role,
    ...(ports && { ports }),
    ...(expiresAt !== undefined && { expiresAt }),
    createdAt: laterOf(before?.createdAt ?? now.toISOString(), peer?.createdAt),
    createdBy: before?.createdBy ?? createdBy,
  })
  if (record.to.kind === 'vm' && role !== 'viewer') {
    throw new RecordInvalid('/role', 'It must be "viewer" for a VM, which can but connect.')
  }
  const others = grants.map((stored) => stored.record).filter((other) => other.id !== id)
  if (before === undefined) checkRoom(others)
  const counting = others.filter((other) => isLive(other, now) && !isOutlived(other, peer))
  checkNew(record, counting)
  return record
}

function laterOf(one: string, other = one): string {
  return Date.parse(one) < Date.parse(other) ? other : one
}

/** It was for an earlier VM of that name. */
function isOutlived({ to, createdAt }: GrantRecord, peer: GrantDemand['peer']): boolean {
  return to.kind === 'vm' && peer !== undefined && Date.parse(createdAt) < Date.parse(peer.createdAt)
}

function checkRoom({ length }: readonly GrantRecord[]): void {
  if (length < MAX_GRANTS) return
  throw new RecordInvalid('/to', `The VM has ${MAX_GRANTS} grants, and cannot have more.`)
}

function checkNew(record: GrantRecord, others: readonly GrantRecord[]): void {
  const twin = others.find((other) => sameness(other) === sameness(record))
  if (twin === undefined) return
  const detail = `"${record.to.value}" has the grant "${twin.id}" for the same ports.`
  throw new RoutingError('api_name_taken', { detail, context: { field: '/to' } })
}

function isLive({ expiresAt }: GrantRecord, now: Date): boolean {
  return expiresAt === undefined || Date.parse(expiresAt) > now.getTime()
}

function sameness({ to, ports }: GrantRecord): string {
  return JSON.stringify([to.kind, to.value, ports ?? 'default'])
}

/** Whether a token has the id is not looked at: it is nobody's business but its owner's. @throws RecordInvalid */
function toGrantee({ kind, value }: Grantee): Grantee {
  const canonical = toCanonical(kind, value)
  if (canonical === undefined) throw new RecordInvalid('/to/value', `It must be ${MEANINGS[kind]}.`)
  return { kind, value: canonical }
}

const MEANINGS: Readonly<Record<Grantee['kind'], string>> = {
  user: "a user's id: visible ASCII without spaces",
  email: 'an e-mail address, as "ann@example.test"',
  domain: 'the part of e-mail addresses behind the @, as "example.test"',
  token: "a token's id: GET /v1/whoami shows it",
  link: 'an id of 1–64 of A-Z a-z 0-9 _ -',
  vm: "another VM's name",
}

function toCanonical(kind: Grantee['kind'], value: string): string | undefined {
  if (kind === 'email') return toEmail(value)
  if (kind === 'domain') return toEmailHost(value)
  if (kind === 'vm') return isLabel(value) ? value : undefined
  if (kind === 'token') return /^[A-Za-z0-9]{12}$/.test(value) ? value : undefined
  return (kind === 'user' ? USER_ID : LINK_ID).test(value) ? value : undefined
}

/** Lower case as a whole: no provider that matters tells `Ann` from `ann`, and a grant must not miss by it. */
function toEmail(value: string): string | undefined {
  const { user = '', host = '' } = EMAIL.exec(value)?.groups ?? {}
  const hostname = toEmailHost(host)
  const email = `${user.normalize('NFC').toLowerCase()}@${hostname}`
  const isDotted = user.startsWith('.') || user.endsWith('.') || user.includes('..')
  return user === '' || isDotted || hostname === undefined || email.length > MAX_EMAIL_CHARACTERS
    ? undefined
    : email
}

function toEmailHost(value: string): string | undefined {
  const hostname = toHostname(value)
  return hostname?.includes('.') ? hostname : undefined
}
