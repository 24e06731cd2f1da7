/** What decisions need of the table, in this edge's memory; routing's access table fits. */

/** Moments before which everything that was issued is void. */
export type RevokedKind = 'user' | 'session' | 'credential'

export interface Access {
  /** Goes up with each change of anything below; decisions that were made under another version are made again. */
  readonly version: number
  /** For how long revocations have not been known to be fresh, and since when the store has not answered; milliseconds. */
  readonly ageMs: number
  readonly awayMs: number
  /** By key id. */
  findSigningKey(id: string): SigningKeyRow | undefined
  listSigningKeys(): readonly SigningKeyRow[]
  /** By SHA-256 fingerprint in base64url without padding. */
  findSshKey(id: string): SshKeyRow | undefined
  findApiToken(id: string): ApiTokenRow | undefined
  /** The user that a pool belongs to. */
  findOwner(pool: string): string | undefined
  /** Pools that belong to a user. */
  poolsOf(user: string): readonly string[]
  /** Unix milliseconds; what was issued at or before that moment is void. */
  findRevocation(kind: RevokedKind, value: string): number | undefined
  /** Calls `ring` in the turn of each change; it must neither throw nor take long. Returns what ends it. */
  onChange(ring: () => void): () => void
}

export interface SigningKeyRow {
  /** RFC 7638 thumbprint: the `kid`. */
  readonly id: string
  /** A public JWK (RFC 7517): kty EC, crv P-256, x, y. */
  readonly publicKey: Readonly<Record<string, string>>
  /** The private JWK, sealed and bound to `signing-key/<id>`. */
  readonly sealedKey: object
  /** ISO 8601 moments: signs from, signs until (absent for the newest), is known until. */
  readonly signsFrom: string
  readonly signsUntil?: string
  readonly knownUntil?: string
}

export interface SshKeyRow {
  readonly id: string
  readonly user: string
  /** `ssh-ed25519`, `ecdsa-sha2-nistp256`, … */
  readonly type: string
  /** The blob in base64. */
  readonly publicKey: string
}

export interface ApiTokenRow {
  readonly id: string
  /** SHA-256 of the secret, base64url. */
  readonly digest: string
  readonly scopes: readonly { readonly pool: string; readonly verbs: readonly string[] }[]
  readonly expiresAt?: string
}
