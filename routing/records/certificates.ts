/** The records of certificates: what is served, what is on order, what proves a name, and what limits it; docs/wire.md explains each field. */

import { type Static, type TObject, Type } from 'typebox'
import { Format } from 'typebox/format'
import { RecordInvalid } from '../errors.ts'
import { toHostname } from './hostname.ts'
import { EDGE } from './records.ts'
import { COUNT, choiceOf, INSTANT, MESSAGE } from './schema.ts'

export const KEY_TYPES = ['ec', 'rsa'] as const
const CHALLENGE_TYPES = ['http-01', 'tls-alpn-01', 'dns-01'] as const
const ORDER_STATES = [
  'wanted',
  'ordered',
  'published',
  'confirmed',
  'answered',
  'ready',
  'keyed',
  'finalized',
  'failed',
] as const

/** What a hostile chain could be at most; those of public CAs have 2 to 4 certificates and 3 to 6 kB. */
const MAX_CHAIN = 10
const MAX_CHAIN_BYTES = 65_536
/** Of `MAX_CHAIN_BYTES`. */
const MAX_BASE64_CHARACTERS = 87_384
const MAX_NAMES = 100
const MAX_SEALED_CHARACTERS = 16_384

Format.Set('certificate-name', isCertificateName)

/** One host name in canonical form, of one label also. */
const NAME = Type.String({ format: 'host-or-label', description: 'a host name in canonical form' })
Format.Set('host-or-label', isHostOrLabel)

const CERTIFICATE_NAME = Type.String({
  format: 'certificate-name',
  description: 'a host name in canonical form, or "*." and one',
})
const CERTIFICATE_NAMES = Type.Array(CERTIFICATE_NAME, {
  minItems: 1,
  maxItems: MAX_NAMES,
  description: 'a list of 1–100 names',
})
const KEY_TYPE = choiceOf(KEY_TYPES)
const CHALLENGE_ID = Type.String({
  pattern: '^[A-Za-z0-9_-]{1,43}$',
  description: 'an id of 1–43 of A-Z a-z 0-9 _ -',
})
const URL_TEXT = Type.String({
  pattern: '^https?://[!-~]{1,2000}$',
  description: 'an http or https address of at most 2,000 characters',
})
const WORD = Type.String({
  pattern: '^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$',
  description: 'a word of at most 64 characters',
})
/** Of a certificate: its `notAfter` and its `createdAt`, a space between. */
const OF = Type.String({
  pattern: '^[0-9TZ.:-]{20,24} [0-9TZ.:-]{20,24}$',
  description: 'two moments with a space between',
})
const SEALED = Type.Object(
  {
    sealed: choiceOf(['v1']),
    keyId: Type.String({ pattern: '^[A-Za-z0-9_-]{8}$', description: 'a key id of 8 characters' }),
    data: Type.String({
      pattern: '^[A-Za-z0-9_-]+$',
      maxLength: MAX_SEALED_CHARACTERS,
      description: 'base64url of at most 16,384 characters',
    }),
  },
  { description: 'a sealed value: {"sealed", "keyId", "data"}' },
)

export const CERTIFICATE = Type.Object({
  name: NAME,
  keyType: KEY_TYPE,
  names: CERTIFICATE_NAMES,
  source: choiceOf(['acme', 'upload']),
  chain: Type.Array(
    Type.String({
      // A bound within the pattern would take 11 µs a certificate to check, and 100,000 are loaded at once.
      pattern: '^[A-Za-z0-9+/]+={0,2}$',
      maxLength: MAX_BASE64_CHARACTERS,
      description: 'a certificate: DER in base64',
    }),
    { minItems: 1, maxItems: MAX_CHAIN, description: 'a list of 1–10 certificates' },
  ),
  sealedKey: SEALED,
  notBefore: INSTANT,
  notAfter: INSTANT,
  createdAt: INSTANT,
  ca: Type.Optional(URL_TEXT),
  profile: Type.Optional(WORD),
})

export const RENEWAL = Type.Object({
  name: NAME,
  keyType: KEY_TYPE,
  of: OF,
  renewAt: INSTANT,
  askAt: INSTANT,
  windowStart: Type.Optional(INSTANT),
  windowEnd: Type.Optional(INSTANT),
  explanationUrl: Type.Optional(URL_TEXT),
  reason: Type.Optional(WORD),
})

const AUTHORIZATION = Type.Object(
  {
    url: URL_TEXT,
    name: NAME,
    isWildcard: Type.Boolean({ description: 'true or false' }),
    challenge: Type.Optional(
      Type.Object(
        { type: choiceOf(CHALLENGE_TYPES), url: URL_TEXT, id: CHALLENGE_ID },
        { description: 'a challenge: {"type", "url", "id"}' },
      ),
    ),
  },
  { description: 'an authorization: {"url", "name", "isWildcard", "challenge"}' },
)

const FAILURE = Type.Object(
  {
    code: WORD,
    detail: MESSAGE,
    problemType: Type.Optional(WORD),
    step: choiceOf(ORDER_STATES),
    at: INSTANT,
  },
  { description: 'a failure: {"code", "detail", "problemType", "step", "at"}' },
)

export const ORDER = Type.Object({
  name: NAME,
  keyType: KEY_TYPE,
  names: CERTIFICATE_NAMES,
  state: choiceOf(ORDER_STATES),
  createdAt: INSTANT,
  cause: choiceOf(['platform', 'demand', 'renewal', 'operator']),
  of: Type.Optional(OF),
  ca: Type.Optional(URL_TEXT),
  paidCas: Type.Optional(Type.Array(URL_TEXT, { maxItems: 20, description: 'a list of addresses' })),
  triedCas: Type.Optional(Type.Array(URL_TEXT, { maxItems: 20, description: 'a list of addresses' })),
  url: Type.Optional(URL_TEXT),
  authorizations: Type.Optional(
    Type.Array(AUTHORIZATION, { maxItems: MAX_NAMES, description: 'a list of authorizations' }),
  ),
  profile: Type.Optional(WORD),
  replaces: Type.Optional(
    Type.String({ pattern: '^[A-Za-z0-9_.-]{1,256}$', description: 'a CertID of RFC 9773' }),
  ),
  sealedKey: Type.Optional(SEALED),
  csr: Type.Optional(
    Type.String({
      ...{ pattern: '^[A-Za-z0-9_-]+$', maxLength: 16_384 },
      description: 'a signing request in base64url',
    }),
  ),
  failures: COUNT,
  lastError: Type.Optional(FAILURE),
  nextTryAt: Type.Optional(INSTANT),
})

export const CHALLENGE = Type.Object({
  id: CHALLENGE_ID,
  type: choiceOf(CHALLENGE_TYPES),
  name: Type.String({
    pattern: '^[a-z0-9_]([a-z0-9._-]{0,252})$',
    description: 'a name of DNS in lower case',
  }),
  token: Type.Optional(
    Type.String({ pattern: '^[A-Za-z0-9_-]{1,256}$', description: 'a token of 1–256 of A-Z a-z 0-9 _ -' }),
  ),
  value: Type.String({
    pattern: '^[A-Za-z0-9._-]{1,512}$',
    description: 'a value of 1–512 of A-Z a-z 0-9 . _ -',
  }),
  expiresAt: INSTANT,
})

/** That an edge has a challenge's answer in memory. */
export const SIGHTING = Type.Object({
  challenge: CHALLENGE_ID,
  edge: EDGE.properties.name,
  /** The challenge's. */
  expiresAt: INSTANT,
})

export const ACME_ACCOUNT = Type.Object({
  ca: URL_TEXT,
  sealedKey: SEALED,
  url: Type.Optional(URL_TEXT),
  createdAt: INSTANT,
})

/** A bucket that is refilled evenly; how much is missing follows from when it will be full. */
export const ACME_BUDGET = Type.Object({
  limit: Type.String({ pattern: '^[a-z][a-z-]{0,31}$', description: 'a word in lower case' }),
  subject: Type.String({ pattern: '^[!-~]{1,254}$', description: 'a text of 1–254 visible characters' }),
  fullAt: INSTANT,
})

export const TICKET_KEY = Type.Object({
  id: CHALLENGE_ID,
  sealedKey: SEALED,
  sealsFrom: INSTANT,
  knownUntil: INSTANT,
})

export type CertificateRecord = Row<typeof CERTIFICATE>
export type RenewalRecord = Row<typeof RENEWAL>
export type OrderRecord = Row<typeof ORDER>
export type ChallengeRecord = Row<typeof CHALLENGE>
export type AcmeAccountRecord = Row<typeof ACME_ACCOUNT>
export type AcmeBudgetRecord = Row<typeof ACME_BUDGET>
export type TicketKeyRecord = Row<typeof TICKET_KEY>
export type KeyType = (typeof KEY_TYPES)[number]

/** What others write rows from is theirs: nothing here changes it, and sealed values are checked when they are written. */
type Row<Schema extends TObject> = DeepReadonly<Static<Schema>>

type DeepReadonly<Value> = Value extends object
  ? { readonly [Name in keyof Value]: DeepReadonly<Value[Name]> }
  : Value

/** @throws RecordInvalid */
export function checkCertificate({ chain, notBefore, notAfter }: Static<typeof CERTIFICATE>): void {
  const bytes = chain.reduce((sum, text) => sum + Buffer.byteLength(text, 'base64'), 0)
  if (bytes > MAX_CHAIN_BYTES) throw new RecordInvalid('/chain', 'It must be 64 KiB of DER at most.')
  if (Date.parse(notAfter) < Date.parse(notBefore)) {
    throw new RecordInvalid('/notAfter', 'It must not be before "notBefore".')
  }
}

/** @throws RecordInvalid */
export function checkChallenge({ type, token }: Static<typeof CHALLENGE>): void {
  if (type === 'http-01' && token === undefined) {
    throw new RecordInvalid('/token', 'It must be there with "http-01".')
  }
}

function isHostOrLabel(text: string): boolean {
  return toHostname(text) === text
}

function isCertificateName(text: string): boolean {
  return isHostOrLabel(text.startsWith('*.') ? text.slice(2) : text)
}
