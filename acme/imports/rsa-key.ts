/** RSA private keys of uploads, made anew from modulus, public exponent and two primes: nothing else of the file is believed. */

import { createPrivateKey, type KeyObject } from 'node:crypto'
import { type DerElement, readDer, readInteger, readSequence, TAGS, toDer, toInteger } from '../der.ts'
import { MAX_EXPONENT, MAX_RSA_BITS } from '../public-keys.ts'
import { refusal } from './refusal.ts'

const MIN_RSA_BITS = 2_048
const MIN_EXPONENT = 3n
/** Primes of very different lengths: the longer one is what a signature costs. */
const MAX_UNEVEN_BITS = 64
/** Where `d` stands (RFC 8017 appendix A.1.2). */
const PRIVATE_EXPONENT = 3

/**
 * From PKCS#1. OpenSSL computes by primes and exponents of any size, finds the result wrong, and computes once more
 * without them: with those of a hostile file a signature took 65 ms instead of 3, and was right.
 * @throws AcmeError `certificate_invalid`; DerError, RangeError or Node's error when it is damaged
 */
export function createRsaKey(pkcs1: Buffer): KeyObject {
  const [version, ...fields] = readFields(pkcs1)
  if (readInteger(version) !== 0n)
    throw refusal('The RSA key has more than two primes, which is not taken here.')
  const [n = 0n, e = 0n, , p = 0n, q = 0n] = fields.slice(0, 5).map(readInteger)
  checkSizes(bitsOf(n), e)
  const shortest = bitsOf(n) / 2 - MAX_UNEVEN_BITS
  if (p * q !== n || bitsOf(p) < shortest || bitsOf(q) < shortest)
    throw refusal('The RSA key has primes that do not belong to it: it is damaged.')
  const d = inverse(e, ((p - 1n) * (q - 1n)) / euclid(p - 1n, q - 1n).divisor)
  const parts = [0n, n, e, d, p, q, d % (p - 1n), d % (q - 1n), inverse(q, p)]
  return toKey(parts.map(toInteger))
}

/** The same key with a private exponent that is of no use: it signs rightly only where its primes do. */
export function toPrimesAlone(key: KeyObject): KeyObject {
  const fields = readFields(key.export({ type: 'pkcs1', format: 'der' })).map(({ raw }) => raw)
  return toKey(fields.with(PRIVATE_EXPONENT, toInteger(1n)))
}

function readFields(pkcs1: Buffer): readonly DerElement[] {
  return readSequence(readDer(pkcs1))
}

function toKey(fields: readonly Buffer[]): KeyObject {
  return createPrivateKey({ key: toDer(TAGS.sequence, ...fields), format: 'der', type: 'pkcs1' })
}

function checkSizes(bits: number, exponent: bigint): void {
  if (bits < MIN_RSA_BITS)
    throw refusal(`The RSA key has ${bits} bits; it must have ${MIN_RSA_BITS} at least.`)
  if (bits > MAX_RSA_BITS)
    throw refusal(
      `The RSA key has ${bits} bits, which would make each handshake too dear; ${MAX_RSA_BITS} is the most.`,
    )
  if (exponent < MIN_EXPONENT) throw refusal('The RSA key has a public exponent with which anybody signs.')
  if (exponent >= MAX_EXPONENT)
    throw refusal('The RSA key has a public exponent of more than 32 bits, which clients refuse.')
}

function bitsOf(value: bigint): number {
  return value.toString(2).length
}

/** @throws RangeError when there is none */
function inverse(value: bigint, modulus: bigint): bigint {
  const { divisor, factor } = euclid(value, modulus)
  if (divisor !== 1n) throw new RangeError('there is no inverse')
  return factor < 0n ? factor + modulus : factor
}

/** The greatest common divisor, and what `value` is to be multiplied with to give it. */
function euclid(value: bigint, modulus: bigint): { readonly divisor: bigint; readonly factor: bigint } {
  if (modulus < 1n) throw new RangeError('a modulus is too small')
  let [divisor, next] = [modulus, value % modulus]
  let [factor, nextFactor] = [0n, 1n]
  while (next !== 0n) {
    const times = divisor / next
    ;[divisor, next] = [next, divisor - times * next]
    ;[factor, nextFactor] = [nextFactor, factor - times * nextFactor]
  }
  return { divisor, factor }
}
