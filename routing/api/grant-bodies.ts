/** What a body makes of a grant: whom it means in one canonical form, which ports, and until when. */

import { isDeepStrictEqual } from 'node:util'
import { type Static, Type } from 'typebox'
import { RecordInvalid, RoutingError } from '../errors.ts'
import { GRANT, GRANTEE, type GrantRecord } from '../records/grants.ts'
import { isLabel, toHostname } from '../records/hostname.ts'
import { isPast, laterOf } from '../records/moments.ts'
import { GRANTS } from '../records/record-kinds.ts'
import type { VmRecord } from '../records/records.ts'
import type { VmParts } from '../vms/vm-parts.ts'
import type { ApiContext } from './context.ts'
import { checkRoom, sortedPorts } from './grant-plans.ts'
import { checkAhead } from './moments.ts'
import { strict } from './schemas.ts'

const { ports, role, expiresAt, label } = GRANT.properties
export const GRANT_BODY = strict(
  {
    to: Type.Object(GRANTEE.properties, {
      additionalProperties: false,
      description: 'whom the grant lets in: {"kind", "value"}',
    }),
    ports,
    role,
    expiresAt,
    label,
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
/** `sha256:` stands for a caller's id that is too long. */
const RESERVED = /^(?:token|link|api|sha256):/
/** Of the admin API. */
const TOKEN_ID = /^[A-Za-z0-9]{12}$/

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
  const { expiresAt, role, label } = body
  const now = context.now()
  checkAhead(expiresAt, now)
  const ports = sortedPorts(body.ports)
  const to = toGrantee(body.to)
  checkPlain(before, { name, grants, to })
  const record = GRANTS.parse({
    id,
    vm: name,
    to,
    role,
    ...(ports && { ports }),
    ...(expiresAt !== undefined && { expiresAt }),
    ...(label !== undefined && { label }),
    // Ending a share link with all that it let in ends this one too, whoever changed it since.
    ...(before?.via !== undefined && isDeepStrictEqual(before.to, to) && { via: before.via }),
    createdAt: laterOf(before?.createdAt ?? now.toISOString(), peer?.createdAt),
    createdBy: before?.createdBy ?? createdBy,
  })
  if (record.to.kind === 'vm' && role !== 'viewer') {
    throw new RecordInvalid('/role', 'It must be "viewer" for a VM, which can but connect.')
  }
  const others = grants.map((stored) => stored.record).filter((other) => other.id !== id)
  if (before === undefined) checkRoom(grants, now, '/to')
  const counting = others.filter((other) => !isPast(other.expiresAt, now) && !isOutlived(other, peer))
  checkNew(record, counting)
  return record
}

/**
 * What tokens and share links of the VM may, and until when, is what they say themselves.
 * @throws RoutingError `api_grant_issued`, RecordInvalid
 */
function checkPlain(
  before: GrantRecord | undefined,
  { name, grants, to }: Pick<VmParts, 'name' | 'grants'> & { readonly to: Grantee },
): void {
  if (before?.token || before?.link) {
    const where = `/v1/vms/${name}/${before.token ? 'tokens' : 'links'}`
    throw new RoutingError('api_grant_issued', { detail: `It is at ${where}/${before.id}.` })
  }
  if (to.kind === 'link') {
    throw new RecordInvalid(
      '/to/kind',
      `POST /v1/vms/${name}/links makes a share link together with its grant.`,
    )
  }
  const isOwn = grants.some(({ record }) => record.token !== undefined && record.id === to.value)
  if (to.kind !== 'token' || !isOwn) return
  const detail = `"${to.value}" is at /v1/vms/${name}/tokens, with a grant of its own; make another token there.`
  throw new RecordInvalid('/to/value', detail)
}

/** It was for an earlier VM of that name. */
function isOutlived({ to, createdAt }: GrantRecord, peer: GrantDemand['peer']): boolean {
  return to.kind === 'vm' && peer !== undefined && Date.parse(createdAt) < Date.parse(peer.createdAt)
}

function checkNew(record: GrantRecord, others: readonly GrantRecord[]): void {
  const twin = others.find((other) => sameness(other) === sameness(record))
  if (twin === undefined) return
  const detail = `"${record.to.value}" has the grant "${twin.id}" for the same ports: delete that first, or PUT it with what is to change.`
  throw new RoutingError('api_name_taken', { detail, context: { field: '/to' } })
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
  token: 'the id of a token of this API: GET /v1/whoami shows it',
  link: "a share link's id",
  vm: "another VM's name",
}

function toCanonical(kind: Grantee['kind'], value: string): string | undefined {
  if (kind === 'email') return toEmail(value)
  if (kind === 'domain') return toEmailHost(value)
  if (kind === 'user') return toUser(value)
  if (kind === 'vm') return isLabel(value) ? value : undefined
  return (kind === 'token' ? TOKEN_ID : USER_ID).test(value) ? value : undefined
}

/** As logins call them: an address in its canonical form; ids of tokens, links and API tokens are no user's. */
export function toUser(value: string): string | undefined {
  const user = toEmail(value) ?? value
  return USER_ID.test(user) && !RESERVED.test(user) ? user : undefined
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
