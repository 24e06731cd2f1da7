/** Private keys of uploads: read, of a kind that TLS clients take, and really the other half of the certificate's. */

import {
  createPrivateKey,
  type KeyObject,
  randomBytes,
  sign,
  verify,
  type X509Certificate,
} from 'node:crypto'
import { promisify } from 'node:util'
import { contextTag, readDer, readSequence, readTagged, TAGS } from '../der.ts'
import { AcmeError } from '../errors.ts'
import { findAlgorithm, isUsualCurve } from '../public-keys.ts'
import type { KeyType } from '../rows.ts'
import { type PemBlock, parsePem } from './pem.ts'
import { refusal, shown } from './refusal.ts'
import { createRsaKey, toPrimesAlone } from './rsa-key.ts'

const signInPool = promisify(sign)
const KEY_LABELS: readonly string[] = ['PRIVATE KEY', 'EC PRIVATE KEY', 'RSA PRIVATE KEY']
const CURVES: Readonly<Record<string, string>> = { prime256v1: 'P-256', secp384r1: 'P-384' }
/** A false prime is right for half of all messages at most. */
const RSA_TRIALS = 8
const UNUSUAL =
  'The key is of a kind that is not taken here: it must be EC with its curve by name (P-256, P-384), or RSA.'
const ENCRYPTED =
  'The key is encrypted. Send it without a passphrase (openssl pkey -in KEY -out PLAIN), or certificate and key as PKCS#12 with its passphrase.'

/** @throws AcmeError `certificate_invalid` */
export function readPemKey(text: string): KeyObject {
  const blocks = parsePem(text, 'key')
  if (blocks.some(isEncrypted)) throw refusal(ENCRYPTED)
  // OpenSSL writes the curve's name in front of the key.
  const keys = blocks.filter(({ label }) => label !== 'EC PARAMETERS')
  const [key] = keys
  if (key === undefined) throw refusal('"key" holds no key.')
  const stray = keys.find(({ label }) => !KEY_LABELS.includes(label))
  if (stray) throw refusal(`"key" holds a ${shown(stray.label)}; it must be one PRIVATE KEY in PEM.`)
  if (keys.length > 1) throw refusal(`"key" holds ${keys.length} keys; it must be one.`)
  return importKey(key)
}

/** PKCS#8. @throws AcmeError `certificate_invalid` */
export function readDerKey(der: Buffer): KeyObject {
  return importKey({ label: 'PRIVATE KEY', der })
}

function isEncrypted({ label, hasHeaders }: PemBlock): boolean {
  return label === 'ENCRYPTED PRIVATE KEY' || hasHeaders
}

function importKey({ label, der }: Pick<PemBlock, 'label' | 'der'>): KeyObject {
  const key = findKey(label, der)
  if (key !== undefined) return key
  throw refusal(`The ${label} cannot be read: it is damaged, or of a kind that is not known here.`)
}

function findKey(label: string, der: Buffer): KeyObject | undefined {
  try {
    if (label === 'RSA PRIVATE KEY') return createRsaKey(der)
    return label === 'EC PRIVATE KEY' ? createSec1Key(der) : createPkcs8Key(der)
  } catch (error) {
    if (error instanceof AcmeError) throw error
    // SAFETY: the error is not kept, since it comes of reading a secret.
    return undefined
  }
}

/** RFC 5915: a file of its own has to name its curve. */
function createSec1Key(der: Buffer): KeyObject {
  if (readCurve(der) !== 'usual') throw refusal(UNUSUAL)
  return createPrivateKey({ key: der, format: 'der', type: 'sec1' })
}

/** RFC 5208; the curve may stand in it once more. */
function createPkcs8Key(der: Buffer): KeyObject {
  const [, identifier, content] = readSequence(readDer(der))
  const algorithm = findAlgorithm(readTagged(identifier, TAGS.sequence))
  const inner = readTagged(content, TAGS.octetString).value
  if (algorithm === 'rsa') return createRsaKey(inner)
  if (algorithm === undefined) throw refusal(UNUSUAL)
  if (algorithm === 'ec' && readCurve(inner) === 'unusual') throw refusal(UNUSUAL)
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
}

/** Of ECPrivateKey. OpenSSL would take the parameters that stand there, whatever was named outside. */
function readCurve(ecPrivateKey: Buffer): 'usual' | 'unusual' | 'absent' {
  const fields = readSequence(readDer(ecPrivateKey))
  const parameters = fields.find(({ tag }) => tag === contextTag(0))
  if (parameters === undefined) return 'absent'
  return isUsualCurve(readDer(parameters.value)) ? 'usual' : 'unusual'
}

/** @throws AcmeError `certificate_invalid` for a key that browsers refuse */
export function checkKeyType({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): KeyType {
  const { namedCurve = '' } = details ?? {}
  if (type === 'rsa') return 'rsa'
  if (type === 'ec' && Object.hasOwn(CURVES, namedCurve)) return 'ec'
  if (type === 'ec') throw refusal(`The key is on the curve ${namedCurve}; it must be P-256 or P-384.`)
  throw refusal(`The key is ${type ?? 'unknown'}; it must be EC (P-256, P-384) or RSA.`)
}

/**
 * Signs: a key may have the certificate's public half and still be damaged, or have primes that are none, so that each
 * signature is computed twice. @throws AcmeError `certificate_invalid`
 */
export async function checkKeyWorks(key: KeyObject, { publicKey }: X509Certificate): Promise<void> {
  const isRsa = key.asymmetricKeyType === 'rsa'
  const tried = isRsa ? toPrimesAlone(key) : key
  const trials = Array.from({ length: isRsa ? RSA_TRIALS : 1 }, () => isSigned(tried, publicKey))
  if ((await Promise.all(trials)).every(Boolean)) return
  throw refusal('The key does not sign for the certificate: it is damaged.')
}

async function isSigned(key: KeyObject, publicKey: KeyObject): Promise<boolean> {
  const message = randomBytes(32)
  const signature = await signInPool('sha256', message, key).catch(() => Buffer.alloc(0))
  return signature.length > 0 && verify('sha256', message, publicKey, signature)
}
