/** What a certificate says of itself beyond what node:crypto tells: signature algorithm, DNS names, extensions. */

import forge from 'node-forge'
import { isHostnameText } from '../../lib/address-text.ts'
import { toBareName } from '../hostnames.ts'

const { asn1 } = forge

export interface CertificateFacts {
  /** RFC 5280 section 4.1.1.2. */
  readonly signatureOid: string
  /** Lower case; none of those that are no host names. */
  readonly dnsNames: readonly string[]
  /** By OID. */
  readonly extensions: ReadonlyMap<string, CertificateExtension>
}

export interface CertificateExtension {
  readonly isCritical: boolean
  /** DER in binary form, as node-forge has it. */
  readonly value: string
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

/** Far more than any certificate needs; deeper ones are made to exhaust the stack. */
const MAX_DEPTH = 32
const DNS_NAME_TAG = 2
const EXTENSIONS_TAG = 3

/** @throws Error when it is no certificate */
export function readFacts(der: Buffer): CertificateFacts {
  const [tbs, algorithm] = childrenOf(parseDer(der.toString('binary')))
  const [oid] = childrenOf(algorithm)
  const extensions = readExtensions(tbs)
  return {
    signatureOid: asn1.derToOid(textOf(oid)),
    dnsNames: readDnsNames(extensions.get(EXTENSIONS.subjectAltName)?.value),
    extensions,
  }
}

/** Bit 0 is the first. Undefined where the certificate limits nothing. */
export function hasKeyUsage({ extensions }: CertificateFacts, bit: number): boolean | undefined {
  const value = extensions.get(EXTENSIONS.keyUsage)?.value
  if (value === undefined) return undefined
  // The first byte counts unused bits.
  const bits = textOf(parseDer(value))
  const byte = bits.charCodeAt(1 + (bit >> 3))
  return (byte & (0x80 >> (bit & 7))) !== 0
}

function readExtensions(tbs: forge.asn1.Asn1 | undefined): Map<string, CertificateExtension> {
  const field = childrenOf(tbs).find(
    ({ tagClass, type }) => tagClass === asn1.Class.CONTEXT_SPECIFIC && Number(type) === EXTENSIONS_TAG,
  )
  const [list] = field === undefined ? [] : childrenOf(field)
  const rows = list === undefined ? [] : childrenOf(list)
  return new Map(
    rows.map((row) => {
      const [oid, ...rest] = childrenOf(row)
      const isCritical = rest.length > 1 && textOf(rest[0]) !== '\0'
      return [asn1.derToOid(textOf(oid)), { isCritical, value: textOf(rest.at(-1)) }]
    }),
  )
}

function readDnsNames(value: string | undefined): readonly string[] {
  if (value === undefined) return []
  const names = childrenOf(parseDer(value))
    .filter(({ type }) => Number(type) === DNS_NAME_TAG)
    .map((name) => textOf(name).toLowerCase())
  return [...new Set(names)].filter(isName)
}

/** A wildcard of one label covers nothing. */
function isName(name: string): boolean {
  const bare = toBareName(name)
  return bare.includes('.') && isHostnameText(bare)
}

function parseDer(text: string): forge.asn1.Asn1 {
  const options = { strict: true, parseAllBytes: true, decodeBitStrings: false, maxDepth: MAX_DEPTH }
  return asn1.fromDer(text, options as never)
}

function childrenOf(value: forge.asn1.Asn1 | undefined): readonly forge.asn1.Asn1[] {
  if (value !== undefined && Array.isArray(value.value)) return value.value
  throw new TypeError('the certificate is not built as RFC 5280 says')
}

function textOf(value: forge.asn1.Asn1 | undefined): string {
  if (value !== undefined && typeof value.value === 'string') return value.value
  throw new TypeError('the certificate is not built as RFC 5280 says')
}
