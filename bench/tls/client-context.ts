/** What the TLS benchmark's clients offer: one version, one group, one cipher, so that every server does the same work. */

import { createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'

export const GROUP = 'X25519'
export const CIPHER = 'TLS_AES_128_GCM_SHA256'
const VERSION = 'TLSv1.3'
/** HTTP/2 servers would send settings at once. */
export const ALPN = ['http/1.1']

/** Without a `caPem` nothing is trusted, and the chain's signatures are not checked either. */
export function createClientContext(caPem?: string): SecureContext {
  const versions = { minVersion: VERSION, maxVersion: VERSION } as const
  return createSecureContext({ ...versions, ecdhCurve: GROUP, ciphers: CIPHER, ca: caPem ?? [] })
}

/** What is not as it was offered. */
export function findChoiceFaults(socket: TLSSocket): string[] {
  const chosen = {
    version: [socket.getProtocol(), VERSION],
    cipher: [socket.getCipher().name, CIPHER],
    protocol: [socket.alpnProtocol, ALPN[0]],
    group: [(socket.getEphemeralKeyInfo() as { name?: string }).name, GROUP],
  }
  return Object.entries(chosen)
    .filter(([, [given, wanted]]) => given !== wanted)
    .map(([what, [given, wanted]]) => `${what} ${given} instead of ${wanted}`)
}

/** As certificates name it. */
export function hasName(socket: TLSSocket, name: string): boolean {
  return socket.getPeerX509Certificate()?.subjectAltName === `DNS:${name}`
}
