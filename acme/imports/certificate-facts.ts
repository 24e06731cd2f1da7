/** What a certificate says of itself beyond what node:crypto tells: signature algorithm, DNS names, extensions. */

import { isHostnameText } from '../../lib/address-text.ts'
import { contextTag, type DerElement, readDer, readOid, readSequence, readTagged, TAGS } from '../der.ts'
import { toBareName } from '../hostnames.ts'

export interface CertificateFacts {
  /** RFC 5280 section 4.1.1.2. */
  readonly signatureOid: string
  /** Lower case; none of those that are no host names. */
  readonly dnsNames: readonly string[]
  /** By OID. */
  readonly extensions: ReadonlyMap<string, CertificateExtension>
  /** Bits, the first one highest (RFC 5280 section 4.2.1.3); absent where the certificate limits nothing. */
  readonly keyUsage?: Buffer
}

export interface CertificateExtension {
  readonly isCritical: boolean
  /** DER. */
  readonly value: Buffer
}

export const EXTENSIONS = {
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  certificatePolicies: '2.5.29.32',
  authorityKeyId: '2.5.29.35',
  policyConstraints: '2.5.29.36',
  extendedKeyUsage: '2.5.29.37',
  inhibitAnyPolicy: '2.5.29.54',
  /** RFC 7633. */
  tlsFeature: '1.3.6.1.5.5.7.1.24',
  /** RFC 6962 section 3.1. */
  precertificate: '1.3.6.1.4.1.11129.2.4.3',
} as const

const EXTENSIONS_TAG = contextTag(3)
/** `[2]`, implicit, of a primitive. */
const DNS_NAME_TAG = 0x82

/** @throws DerError when it is no certificate */
export function readFacts(der: Buffer): CertificateFacts {
  const [signed, algorithm] = readSequence(readDer(der))
  const [oid] = readSequence(algorithm)
  const extensions = readExtensions(signed)
  const keyUsage = extensions.get(EXTENSIONS.keyUsage)
  return {
    signatureOid: readOid(oid),
    dnsNames: readDnsNames(extensions.get(EXTENSIONS.subjectAltName)),
    extensions,
    // The first byte counts unused bits.
    ...(keyUsage && { keyUsage: readTagged(readDer(keyUsage.value), TAGS.bitString).value.subarray(1) }),
  }
}

/** Bit 0 is the first. Undefined where the certificate limits nothing. */
export function hasKeyUsage({ keyUsage }: CertificateFacts, bit: number): boolean | undefined {
  return keyUsage && ((keyUsage[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0
}

function readExtensions(signed: DerElement | undefined): Map<string, CertificateExtension> {
  const field = readSequence(signed).find(({ tag }) => tag === EXTENSIONS_TAG)
  const rows = field === undefined ? [] : readSequence(readDer(field.value))
  return new Map(
    rows.map((row) => {
      const [oid, ...rest] = readSequence(row)
      const isCritical = rest.length > 1 && readTagged(rest[0], TAGS.boolean).value[0] !== 0
      return [readOid(oid), { isCritical, value: readTagged(rest.at(-1), TAGS.octetString).value }]
    }),
  )
}

function readDnsNames(extension: CertificateExtension | undefined): readonly string[] {
  if (extension === undefined) return []
  const names = readSequence(readDer(extension.value))
    .filter(({ tag }) => tag === DNS_NAME_TAG)
    .map(({ value }) => value.toString('latin1').toLowerCase())
  return [...new Set(names)].filter(isName)
}

/** A wildcard of one label covers nothing. */
function isName(name: string): boolean {
  const bare = toBareName(name)
  return bare.includes('.') && isHostnameText(bare)
}
