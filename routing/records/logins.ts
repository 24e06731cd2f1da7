/** Records of logins and of what is signed: sessions, codes, mails, revocations and signing keys; docs/wire.md explains each field. */

import { type Static, Type } from 'typebox'
import { USER } from './records.ts'
import { choiceOf, HOSTNAME, ID, INSTANT, TEXT } from './schema.ts'

const DIGEST = Type.String({ pattern: '^[A-Za-z0-9_-]{43}$', description: 'a SHA-256 digest in base64url' })
const EMAIL = Type.String({ minLength: 3, maxLength: 254, description: 'an e-mail address' })
const SEALED = Type.Object({}, { additionalProperties: true, description: 'a sealed value' })

export const SESSION = Type.Object({
  id: ID,
  user: USER,
  email: Type.Optional(EMAIL),
  name: Type.Optional(TEXT),
  method: choiceOf(['oidc', 'mail', 'people']),
  createdAt: INSTANT,
  expiresAt: INSTANT,
  userAgent: Type.Optional(TEXT),
})

/** A login on its way from the login host to one VM host; who takes it deletes it. */
export const LOGIN_CODE = Type.Object({
  /** Of the code. */
  digest: DIGEST,
  hostname: HOSTNAME,
  challenge: DIGEST,
  session: SESSION,
  expiresAt: INSTANT,
})

export const MAIL_LOGIN = Type.Object({
  digest: DIGEST,
  email: EMAIL,
  browser: DIGEST,
  flow: Type.String({ maxLength: 4_096, description: 'a sealed text' }),
  expiresAt: INSTANT,
})

/** Everything that was issued for `value` at or before `at` is void. */
export const REVOCATION = Type.Object({
  kind: choiceOf(['user', 'session', 'credential']),
  value: Type.String({ minLength: 1, maxLength: 254, description: 'a text of 1–254 characters' }),
  at: INSTANT,
  /** Nothing that it makes void lives longer; then it is deleted. */
  expiresAt: INSTANT,
})

export const SIGNING_KEY = Type.Object({
  /** RFC 7638 thumbprint. */
  id: DIGEST,
  /** A public JWK: EC, P-256. */
  publicKey: Type.Object({
    kty: choiceOf(['EC']),
    crv: choiceOf(['P-256']),
    x: DIGEST,
    y: DIGEST,
  }),
  sealedKey: SEALED,
  createdAt: INSTANT,
  signsFrom: INSTANT,
  /** Absent for the newest. */
  signsUntil: Type.Optional(INSTANT),
  /** It verifies until then, and is deleted. */
  knownUntil: Type.Optional(INSTANT),
})

export type SessionRecord = Static<typeof SESSION>
export type LoginCodeRecord = Static<typeof LOGIN_CODE>
export type MailLoginRecord = Static<typeof MAIL_LOGIN>
export type RevocationRecord = Static<typeof REVOCATION>
export type SigningKeyRecord = Static<typeof SIGNING_KEY>
