/** The records that the store holds and the parsers that refuse anything else; docs/wire.md explains each field. */

import { type Static, Type } from 'typebox'
import { ROW_GRANT } from './grants.ts'
import { AMOUNT, COUNT, choiceOf, HOSTNAME, ID, INSTANT, LABEL, MESSAGE, PORT, TEXT } from './schema.ts'

export const VISIBILITIES = ['public', 'private'] as const
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

export const USER = Type.String({ minLength: 1, maxLength: 254, description: 'a text of 1–254 characters' })

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
  /** Of its VMs' disks together, each way; no limit when absent. */
  ioBytesPerSecond: Type.Optional(
    Type.Integer({
      minimum: 65_536,
      maximum: Number.MAX_SAFE_INTEGER,
      description: 'a whole number of bytes from 65536 up',
    }),
  ),
  /** The user whose SSH keys open every VM of the pool. */
  owner: Type.Optional(USER),
  host: Type.Optional(LABEL),
  createdAt: INSTANT,
})

/** `app`: the VM reads Authorization itself; otherwise edges take tokens of the platform from it on private ports. */
const AUTHORIZATION = Type.Optional(choiceOf(['app']))

export const VM_PORT = Type.Object(
  { visibility: choiceOf(VISIBILITIES), authorization: AUTHORIZATION },
  { description: '{"visibility", "authorization"}' },
)

/** What a VM's disk was made from: another VM as it was, or one of its snapshots. */
export const VM_SOURCE = Type.Object(
  { vm: LABEL, createdAt: INSTANT, snapshot: Type.Optional(ID) },
  { description: 'a VM and, if it is not to be its present, a snapshot of it: {"vm", "snapshot"}' },
)

export const VM = Type.Object({
  name: LABEL,
  pool: LABEL,
  image: Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}$', description: "an image's name" }),
  state: choiceOf(['running', 'stopped']),
  port: Type.Optional(PORT),
  ports: byPort(VM_PORT),
  comment: Type.Optional(TEXT),
  cpus: Type.Optional(Type.Integer({ minimum: 1, maximum: 64, description: 'a whole number from 1 to 64' })),
  memoryBytes: Type.Optional(
    Type.Integer({
      minimum: 67_108_864,
      maximum: Number.MAX_SAFE_INTEGER,
      description: 'a whole number of bytes from 67108864 (64 MiB) up',
    }),
  ),
  /** What the guest sees; of the pool's disk only what is written is taken. */
  diskBytes: Type.Optional(
    Type.Integer({
      minimum: 67_108_864,
      maximum: 17_592_186_044_416,
      description: 'a whole number of bytes from 67108864 (64 MiB) to 17592186044416 (16 TiB)',
    }),
  ),
  /** Its share of the pool's CPU beside the others'; 100 when absent. */
  weight: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 10_000, description: 'a whole number from 1 to 10000' }),
  ),
  /** Whether it may open connections to the outside; `open` when absent. */
  egress: Type.Optional(choiceOf(['open', 'none'])),
  /** Idle for so long, it is suspended; never when absent. */
  suspendAfterSeconds: Type.Optional(
    Type.Integer({
      minimum: 5,
      maximum: 31_536_000,
      description: 'a whole number of seconds from 5 to 31536000',
    }),
  ),
  source: Type.Optional(VM_SOURCE),
  /** The last restore that was asked for: a new id is a new one. */
  restore: Type.Optional(
    Type.Object({ id: ID, snapshot: ID }, { description: 'a restore: {"id", "snapshot"}' }),
  ),
  createdAt: INSTANT,
})

export const REPORT = Type.Object({
  name: LABEL,
  host: LABEL,
  /** `asleep`: its memory is on disk, and a call wakes it. */
  state: choiceOf(['running', 'stopped', 'failed', 'asleep']),
  message: Type.Optional(MESSAGE),
  generation: COUNT,
  ports: byPort(ADDRESS),
  /** The port that its image names as its own. */
  defaultPort: Type.Optional(PORT),
  /** Its SSH host key. */
  hostKey: Type.Optional(
    Type.String({
      pattern: '^ssh-ed25519 [A-Za-z0-9+/]{68}$',
      description: 'an SSH host key, as "ssh-ed25519 AAAA…"',
    }),
  ),
})

export const ROUTE = Type.Object({
  hostname: HOSTNAME,
  visibility: choiceOf(VISIBILITIES),
  vm: Type.Optional(LABEL),
  port: Type.Optional(PORT),
  pool: Type.Optional(LABEL),
  upstream: Type.Optional(ADDRESS),
  /** `asleep` has no upstream: a call wakes the VM. */
  state: choiceOf(['running', 'stopped', 'asleep']),
  generation: COUNT,
  grants: Type.Optional(Type.Array(ROW_GRANT, { maxItems: 1_000, description: 'a list of grants' })),
  authorization: AUTHORIZATION,
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
  user: USER,
  type: choiceOf(['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521']),
  publicKey: Type.String({ pattern: '^[A-Za-z0-9+/]{40,400}={0,2}$', description: 'a public key in base64' }),
  label: TEXT,
  createdAt: INSTANT,
})

const WORD = Type.String({ pattern: '^[a-z][a-z0-9-]{0,31}$', description: 'a word in lower case' })

export const HOST = Type.Object({
  name: LABEL,
  cpuMillis: COUNT,
  memoryBytes: COUNT,
  diskBytes: COUNT,
  images: Type.Array(VM.properties.image, { maxItems: 1_000, description: 'a list of image names' }),
  /** What runs its VMs: `process`, `qemu`. */
  vmm: Type.Optional(WORD),
  /** How its VMs reach the network: `user`, `tap`, `none`. */
  network: Type.Optional(WORD),
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
export type TokenRecord = Static<typeof TOKEN>
export type KeyRecord = Static<typeof KEY>
export type HostRecord = Static<typeof HOST>
export type EdgeRecord = Static<typeof EDGE>
export type UsageCounts = Static<typeof USAGE_COUNTS>
export type UsageRecord = Static<typeof USAGE>
export type AuditRecord = Static<typeof AUDIT>
