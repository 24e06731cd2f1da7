/** Where a certificate says that its OCSP responder is. */

import type { X509Certificate } from 'node:crypto'

/** id-ad-ocsp (RFC 5280 section 4.2.2.1), encoded. */
const OCSP_METHOD = Buffer.from('06082b06010505073001', 'hex')

/** A quick look, before anything is read: a certificate without these bytes names no responder. */
export function mayNameResponder(der: Buffer): boolean {
  return der.includes(OCSP_METHOD)
}

/** The first `http:` URL of its responders. */
export function findResponder({ infoAccess }: X509Certificate): string | undefined {
  return /^OCSP - URI:(http:\/\/[^\s"]{1,1000})$/im.exec(infoAccess ?? '')?.[1]
}
