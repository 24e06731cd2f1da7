/** Public keys that strangers chose: to read some of them, or to verify with them, costs hundreds of times as much as with usual ones. */

import type { KeyObject } from 'node:crypto'
import { type DerElement, TAGS, toDer, toOid } from './der.ts'

const CURVES: Readonly<Record<string, string>> = {
  prime256v1: '1.2.840.10045.3.1.7',
  secp384r1: '1.3.132.0.34',
  secp521r1: '1.3.132.0.35',
}
const EDWARDS: Readonly<Record<string, string>> = { ed25519: '1.3.101.112', ed448: '1.3.101.113' }
const EC = '1.2.840.10045.2.1'
const RSA = '1.2.840.113549.1.1.1'
const NULL = Buffer.from([0x05, 0])
/** A signature with so many takes 3 ms, 220 times as long as with P-256, and strangers ask for them. */
export const MAX_RSA_BITS = 4_096
/** Clients take no more than 33 bits; with one as long as the modulus a verification takes 6 ms instead of 0.03. */
export const MAX_EXPONENT = 2n ** 32n

export type KeyAlgorithm = 'rsa' | 'ec' | 'edwards'

/** By whole AlgorithmIdentifiers (RFC 3279, RFC 5480, RFC 8410) in hexadecimal: DER has one way to write each. */
const ALGORITHMS: ReadonlyMap<string, KeyAlgorithm> = new Map([
  [toAlgorithm(toOid(RSA), NULL), 'rsa'],
  ...Object.values(CURVES).map((curve) => [toAlgorithm(toOid(EC), toOid(curve)), 'ec'] as const),
  ...Object.values(EDWARDS).map((oid) => [toAlgorithm(toOid(oid)), 'edwards'] as const),
])
const CURVE_NAMES: ReadonlySet<string> = new Set(
  Object.values(CURVES).map((curve) => toOid(curve).toString('hex')),
)

/** Whether a verification with the key is cheap: 0.06 ms with RSA of 4096 bits, 0.1 to 0.3 ms with an elliptic curve. */
export function isUsualKey({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): boolean {
  const { namedCurve = '', modulusLength = Infinity, publicExponent = MAX_EXPONENT } = details ?? {}
  if (type === 'ec') return Object.hasOwn(CURVES, namedCurve)
  if (type === 'rsa') return modulusLength <= MAX_RSA_BITS && publicExponent < MAX_EXPONENT
  return type !== undefined && Object.hasOwn(EDWARDS, type)
}

/**
 * What a key of this AlgorithmIdentifier is; undefined when it must not be read at all. OpenSSL unpacks a point while it
 * reads it: on a curve whose parameters came with it, that takes up to 0.2 s for a few hundred bytes.
 */
export function findAlgorithm(algorithm: DerElement | undefined): KeyAlgorithm | undefined {
  return algorithm && ALGORITHMS.get(algorithm.raw.toString('hex'))
}

/** Whether these parameters are a curve's name, and it is usual. */
export function isUsualCurve(parameters: DerElement): boolean {
  return CURVE_NAMES.has(parameters.raw.toString('hex'))
}

function toAlgorithm(...parts: readonly Buffer[]): string {
  return toDer(TAGS.sequence, ...parts).toString('hex')
}
