/** The records that the store holds and the parsers that refuse anything else; docs/wire.md explains each field. */

import { type Static, Type } from 'typebox'
import { AMOUNT, COUNT, choiceOf, HOSTNAME, ID, INSTANT, LABEL, PORT, TEXT } from './schema.ts'

export const VISIBILITIES = ['public', 'private'] as const
export const ROLES = ['viewer', 'root'] as const
/** What a token may do in the pools that its scope names. */
export const VERBS = ['read', 'write', 'share', 'admin'] as const

export type Visibility = (typeof VISIBILITIES)[number]
export type Verb = (typeof VERBS)[number]

/** 1 to 65535. */
const PORT_NAME = '^(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})$'

/** How an edge dials an upstream. */
export const ADDRESS = Type.Object(
  {
    host: Type.String({ format: 'dialable', description: 'an IP address or a host name' }),
    port: PORT,
  },
  { description: 'an address: {"host", "port"}' },
)

/** By port in decimal. */
const byPort = <Schema extends Parameters<typeof Type.Record>[1]>(schema: Schema) =>
  Type.Record(Type.String({ pattern: PORT_NAME }), schema, {
    additionalProperties: false,
    maxProperties: 1_000,
    description: 'an object with ports from 1 to 65535 as names',
  })

/** What a grant lets in: a stable user id, an e-mail address, an e-mail domain, a token's id or a share link's id. */
export const GRANTEE = Type.Object(
  {
    kind: choiceOf(['user', 'email', 'domain', 'token', 'link']),
    value: Type.String({ minLength: 1, maxLength: 254, description: 'a text of 1–254 characters' }),
  },
  { description: 'whom the grant lets in: {"kind", "value"}' },
)

/** A grant as a route row carries it: only those that count for the row's port. */
const ROW_GRANT = Type.Object({
  id: ID,
  to: GRANTEE,
  role: choiceOf(ROLES),
  expiresAt: Type.Optional(INSTANT),
})

export const POOL = Type.Object({
  name: LABEL,
  /** Of one CPU: 1,500 is one and a half. */
  cpuMillis: Type.Integer({
    minimum: 100,
    maximum: 4_096_000,
    description: 'thousandths of a CPU, 100 or more',
  }),
  memoryBytes: COUNT,
  diskBytes: COUNT,
  host: Type.Optional(LABEL),
  createdAt: INSTANT,
})

export const VM_PORT = Type.Object({ visibility: choiceOf(VISIBILITIES) }, { description: '{"visibility"}' })

export const VM = Type.Object({
  name: LABEL,
  pool: LABEL,
  image: Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}$', description: "an image's name" }),
  state: choiceOf(['running', 'stopped']),
  port: Type.Optional(PORT),
  ports: byPort(VM_PORT),
  comment: Type.Optional(TEXT),
  createdAt: INSTANT,
})

export const REPORT = Type.Object({
  name: LABEL,
  host: LABEL,
  state: choiceOf(['running', 'stopped', 'failed']),
  message: Type.Optional(
    Type.String({ maxLength: 1_000, description: 'a text of at most 1,000 characters' }),
  ),
  generation: COUNT,
  ports: byPort(ADDRESS),
})

export const ROUTE = Type.Object({
  hostname: HOSTNAME,
  visibility: choiceOf(VISIBILITIES),
  vm: Type.Optional(LABEL),
  port: Type.Optional(PORT),
  pool: Type.Optional(LABEL),
  upstream: Type.Optional(ADDRESS),
  state: choiceOf(['running', 'stopped']),
  generation: COUNT,
  grants: Type.Optional(Type.Array(ROW_GRANT, { maxItems: 1_000, description: 'a list of grants' })),
})

/** That a host name leads to a VM; its row is joined from this, the VM, its report and its grants. */
export const BINDING = Type.Object({
  vm: LABEL,
  hostname: HOSTNAME,
  /** The VM's default port when absent. */
  port: Type.Optional(PORT),
})

export const DOMAIN = Type.Object({
  hostname: HOSTNAME,
  vm: LABEL,
  port: Type.Optional(PORT),
  challenge: ID,
  state: choiceOf(['pending', 'proven']),
  provenBy: Type.Optional(choiceOf(['txt', 'cname', 'operator'])),
  provenAt: Type.Optional(INSTANT),
  lastError: Type.Optional(TEXT),
  createdAt: INSTANT,
})

export const GRANT = Type.Object({
  id: ID,
  vm: LABEL,
  to: GRANTEE,
  ports: Type.Optional(Type.Array(PORT, { minItems: 1, maxItems: 100, description: 'a list of ports' })),
  role: choiceOf(ROLES),
  expiresAt: Type.Optional(INSTANT),
  createdAt: INSTANT,
  createdBy: TEXT,
})

export const SCOPE = Type.Object(
  {
    pool: Type.String({
      pattern: '^(\\*|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$',
      description: 'a pool\'s name, or "*"',
    }),
    verbs: Type.Array(choiceOf(VERBS), { minItems: 1, maxItems: 4, description: 'a list of verbs' }),
  },
  { description: 'a scope: {"pool", "verbs"}' },
)

export const TOKEN = Type.Object({
  id: ID,
  label: TEXT,
  /** SHA-256 of the secret, base64url: the store never learns the secret. */
  digest: Type.String({ pattern: '^[A-Za-z0-9_-]{43}$', description: 'a SHA-256 digest in base64url' }),
  scopes: Type.Array(SCOPE, { minItems: 1, maxItems: 20, description: 'a list of scopes' }),
  expiresAt: Type.Optional(INSTANT),
  createdAt: INSTANT,
  createdBy: TEXT,
})

export const KEY = Type.Object({
  /** The SHA-256 fingerprint of the key, base64url without padding. */
  id: ID,
  user: Type.String({ minLength: 1, maxLength: 254, description: 'a text of 1–254 characters' }),
  type: choiceOf(['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521']),
  publicKey: Type.String({ pattern: '^[A-Za-z0-9+/]{40,400}={0,2}$', description: 'a public key in base64' }),
  label: TEXT,
  createdAt: INSTANT,
})

export const HOST = Type.Object({
  name: LABEL,
  cpuMillis: COUNT,
  memoryBytes: COUNT,
  diskBytes: COUNT,
  images: Type.Array(VM.properties.image, { maxItems: 1_000, description: 'a list of image names' }),
  version: TEXT,
  startedAt: INSTANT,
})

export const EDGE = Type.Object({
  name: Type.String({ pattern: '^[A-Za-z0-9._-]{1,64}$', description: 'an HTTP token of 1–64 characters' }),
  version: TEXT,
  startedAt: INSTANT,
})

/** What one process counted for one pool in one hour. */
export const USAGE_COUNTS = Type.Object({
  cpuSeconds: AMOUNT,
  memoryByteSeconds: AMOUNT,
  /** The most that was used at once in the hour. */
  diskBytes: AMOUNT,
  replicatedBytes: AMOUNT,
  egressBytes: AMOUNT,
  requests: AMOUNT,
})

export const USAGE = Type.Object({
  pool: LABEL,
  /** The first moment of the hour. */
  hour: INSTANT,
  /** The run of the process that counted: its name and when it started. */
  source: ID,
  counts: USAGE_COUNTS,
})

export const AUDIT = Type.Object({
  id: ID,
  at: INSTANT,
  /** A token's id, or `bootstrap`. */
  who: TEXT,
  action: choiceOf(['create', 'update', 'delete']),
  /** The key of the record that was changed. */
  key: Type.String({ maxLength: 1_024, description: 'a key' }),
  pool: Type.Optional(LABEL),
  before: Type.Optional(Type.Object({})),
  after: Type.Optional(Type.Object({})),
  requestId: TEXT,
})

export type Address = Static<typeof ADDRESS>
export type PoolRecord = Static<typeof POOL>
export type VmRecord = Static<typeof VM>
export type ReportRecord = Static<typeof REPORT>
export type RouteRecord = Readonly<Static<typeof ROUTE>>
export type BindingRecord = Static<typeof BINDING>
export type DomainRecord = Static<typeof DOMAIN>
export type GrantRecord = Static<typeof GRANT>
export type TokenRecord = Static<typeof TOKEN>
export type KeyRecord = Static<typeof KEY>
export type HostRecord = Static<typeof HOST>
export type EdgeRecord = Static<typeof EDGE>
export type UsageCounts = Static<typeof USAGE_COUNTS>
export type UsageRecord = Static<typeof USAGE>
export type AuditRecord = Static<typeof AUDIT>
