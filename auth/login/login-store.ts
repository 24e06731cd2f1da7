/** What logins keep in the store; routing's login book fits. Every method @throws LandfallError `store_unreachable`. */

/** Somebody who proved who they are. */
export interface Person {
  /** Stable id, visible ASCII. */
  readonly user: string
  /** Canonical; absent when no address was proven. */
  readonly email?: string
  readonly name?: string
}

export type LoginMethodName = 'oidc' | 'mail' | 'people'

export interface Session extends Person {
  /** 128 bits at random, base64url. */
  readonly id: string
  readonly method: LoginMethodName
  /** ISO 8601. */
  readonly createdAt: string
  readonly expiresAt: string
  /** What the browser calls itself, cut to 200 characters. */
  readonly userAgent?: string
}

/** Hands a login from the login host to one VM host, once. */
export interface LoginCode {
  readonly hostname: string
  /** SHA-256 of the secret that the browser holds for that host, base64url (RFC 7636 section 4.2). */
  readonly challenge: string
  readonly session: Session
  /** ISO 8601. */
  readonly expiresAt: string
}

/** A mail that was sent and not used yet. */
export interface MailLogin {
  readonly email: string
  /** SHA-256 of the secret in the cookie of the browser that asked, base64url. */
  readonly browser: string
  /** Where the login goes on, sealed by the login host. */
  readonly flow: string
  readonly expiresAt: string
}

export interface LinkUse {
  readonly vm: string
  /** The link's id, which is its grant's. */
  readonly id: string
  /** Who is let in by it; absent for a link that works without login. */
  readonly person?: Person
}

/** `used`: it was for one use. `gone`: deleted, closed, or run out. `full`: the VM can have no more grants. */
export type LinkOutcome = 'let-in' | 'used' | 'gone' | 'needs-login' | 'full'

/** What a link is good for to somebody who was never here. */
export type LinkState = 'open' | Exclude<LinkOutcome, 'let-in' | 'needs-login'>

export interface LoginStore {
  putSession(session: Session): Promise<void>
  /** False when it has ended. Read from the store, not from memory. */
  hasSession(id: string): Promise<boolean>
  /** Deletes it and revokes all that came of it. */
  endSession(id: string): Promise<void>
  /** Revokes one cookie: what a log-out at a VM host leaves behind must not be of use to a thief. */
  revokeCredential(id: string, expiresAt: string): Promise<void>
  /** `digest`: SHA-256 of the code, base64url. */
  putCode(digest: string, code: LoginCode): Promise<void>
  /** Once: undefined when it was taken, or never was. */
  takeCode(digest: string): Promise<LoginCode | undefined>
  putMailLogin(digest: string, login: MailLogin): Promise<void>
  /** Without taking it. */
  findMailLogin(digest: string): Promise<MailLogin | undefined>
  takeMailLogin(digest: string): Promise<MailLogin | undefined>
  /** Changes nothing. A link that is closed or used up keeps its grant, for those who came by it. */
  findLink(vm: string, id: string): Promise<LinkState>
  /** Counts a use; with a person it writes a grant for them, unless they have one. */
  useLink(use: LinkUse): Promise<LinkOutcome>
}
