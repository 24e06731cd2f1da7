/** The records of who else gets in, and how a row repeats them; docs/wire.md explains each field. */

import { type Static, Type } from 'typebox'
import { COUNT, choiceOf, HOSTNAME, ID, INSTANT, LABEL, PORT, TEXT } from './schema.ts'

/** `viewer`: the web; `root`: the web and SSH. */
const ROLES = ['viewer', 'root'] as const

/**
 * What a grant lets in: a stable user id, an e-mail address, an e-mail domain, a token's id, a share link's id, or a VM,
 * which then may connect over the network of their host.
 */
export const GRANTEE = Type.Object(
  {
    kind: choiceOf(['user', 'email', 'domain', 'token', 'link', 'vm']),
    value: Type.String({ minLength: 1, maxLength: 254, description: 'a text of 1–254 characters' }),
  },
  { description: 'whom the grant lets in: {"kind", "value"}' },
)

/** RFC 9110 section 9.1, in upper case as all that are in use. */
export const METHOD = Type.String({ pattern: '^[A-Z][A-Z-]{0,31}$', description: 'a method in upper case' })
/** No dot segments, no escapes: what it covers must be plain to see. */
export const PATH_PREFIX = Type.String({
  pattern: "^/[A-Za-z0-9._~!$&'()*+,;=:@/-]{0,254}$",
  description: 'a path that starts with a slash, of plain characters',
})
export const CTX = Type.String({ maxLength: 1_024, description: 'a text of up to 1024 characters' })
export const THUMBPRINT = Type.String({
  pattern: '^[A-Za-z0-9_-]{43}$',
  description: 'a SHA-256 thumbprint in base64url',
})

/** A grant as a route row carries it: only those that count for the row's port. */
export const ROW_GRANT = Type.Object({
  id: ID,
  to: GRANTEE,
  role: choiceOf(ROLES),
  expiresAt: Type.Optional(INSTANT),
})

const GRANT_TOKEN = Type.Object(
  {
    hostname: HOSTNAME,
    methods: Type.Optional(
      Type.Array(METHOD, { minItems: 1, maxItems: 20, description: 'a list of methods' }),
    ),
    pathPrefix: Type.Optional(PATH_PREFIX),
    ctx: Type.Optional(CTX),
    /** RFC 7638 thumbprint of the key that requests with it are signed with (RFC 9449). */
    proofThumbprint: Type.Optional(THUMBPRINT),
  },
  { description: 'what a token is narrowed to' },
)

const GRANT_LINK = Type.Object(
  {
    hostname: HOSTNAME,
    needsLogin: Type.Boolean({ description: 'true or false' }),
    isSingleUse: Type.Boolean({ description: 'true or false' }),
    uses: COUNT,
    /** It lets nobody in any more; whom it has let in stays. */
    closedAt: Type.Optional(INSTANT),
  },
  { description: 'a share link' },
)

export const GRANT = Type.Object({
  id: ID,
  vm: LABEL,
  to: GRANTEE,
  ports: Type.Optional(Type.Array(PORT, { minItems: 1, maxItems: 100, description: 'a list of ports' })),
  role: choiceOf(ROLES),
  expiresAt: Type.Optional(INSTANT),
  label: Type.Optional(TEXT),
  /** Of a grant to a token that was issued for this VM: what the token says. */
  token: Type.Optional(GRANT_TOKEN),
  /** Of a grant to a share link. */
  link: Type.Optional(GRANT_LINK),
  /** The share link that this user came in by. */
  via: Type.Optional(ID),
  createdAt: INSTANT,
  createdBy: TEXT,
})

export type GrantRecord = Static<typeof GRANT>
