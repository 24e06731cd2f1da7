/** What a server on loopback shows over TLS: a certificate for `localhost`, and the root that its clients have to trust. */

import { generateKey } from '../../acme/keys.ts'
import { createAuthorityCertificate, createServerCertificate } from '../../acme/x509.ts'

/** All in PEM. */
export interface ServerIdentity {
  readonly rootPem: string
  readonly cert: string
  readonly key: string
}

export async function createServerIdentity(): Promise<ServerIdentity> {
  const root = { key: await generateKey('ec'), subject: 'CN=Test server root' }
  const key = await generateKey('ec')
  const validity = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 86_400_000) }
  return {
    rootPem: await createAuthorityCertificate(root, validity),
    cert: await createServerCertificate(root, { names: ['localhost'], key, validity }),
    key: String(key.export({ type: 'pkcs8', format: 'pem' })),
  }
}
