/** Documents of the access table for tests. */

export const PAST = '2026-01-01T00:00:00.000Z'
export const FAR = '2096-01-01T00:00:00.000Z'
const COMMON = { createdAt: PAST }

export function poolOf(name: string, owner?: string) {
  const size = { cpuMillis: 1_000, memoryBytes: 1_024, diskBytes: 1_024 }
  return { name, ...size, ...(owner !== undefined && { owner }), ...COMMON }
}

export function sshKeyOf(id: string, user: string) {
  return { id, user, type: 'ssh-ed25519', publicKey: 'A'.repeat(68), label: 'laptop', ...COMMON }
}

export function tokenOf(id: string) {
  const scopes = [{ pool: 'web', verbs: ['read', 'write'] }]
  return { id, label: 'ci', digest: 'd'.repeat(43), scopes, ...COMMON, createdBy: 'test' }
}

export function revocationOf(kind: string, value: string) {
  return { kind, value, at: PAST, expiresAt: FAR }
}

/** `letter` makes its id. */
export function signingKeyOf(letter: string) {
  const publicKey = { kty: 'EC', crv: 'P-256', x: 'x'.repeat(43), y: 'y'.repeat(43) }
  const sealedKey = { sealed: 'v1', keyId: 'k', data: 'secret' }
  return { id: letter.repeat(43), publicKey, sealedKey, signsFrom: PAST, ...COMMON }
}
