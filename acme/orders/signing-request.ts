/** Makes the signing request (PKCS#10, RFC 2986) of a certificate. */

import type { KeyObject } from 'node:crypto'
import { crypto } from 'acme-client'

/**
 * In DER. It has no common name, which may have no more than 64 characters and which no client reads (RFC 9525), and
 * never asks for must-staple (RFC 7633): one lost OCSP answer would take the name away.
 */
export async function createSigningRequest(names: readonly string[], key: KeyObject): Promise<Buffer> {
  const pem = key.export({ type: 'pkcs8', format: 'pem' })
  const [, request] = await crypto.createCsr({ altNames: [...names] }, pem)
  return Buffer.from(crypto.getPemBodyAsB64u(request), 'base64url')
}
