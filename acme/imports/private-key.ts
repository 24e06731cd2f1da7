/** Private keys of uploads: read, of a kind that TLS clients take, and really the other half of the certificate's. */

import { createPrivateKey, type KeyObject, sign, verify, type X509Certificate } from 'node:crypto'
import { promisify } from 'node:util'
import type { KeyType } from '../rows.ts'
import { type PemBlock, parsePem } from './pem.ts'
import { refusal, shown } from './refusal.ts'

const signInPool = promisify(sign)
const KEY_LABELS: readonly string[] = ['PRIVATE KEY', 'EC PRIVATE KEY', 'RSA PRIVATE KEY']
const CURVES: Readonly<Record<string, string>> = { prime256v1: 'P-256', secp384r1: 'P-384' }
const MIN_RSA_BITS = 2_048
/** A signature with 4096 bits takes 3 ms, 220 times as long as with P-256, and strangers ask for them. */
const MAX_RSA_BITS = 4_096
const MAX_EXPONENT = 2n ** 32n
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
  const type = label === 'EC PRIVATE KEY' ? 'sec1' : label === 'RSA PRIVATE KEY' ? 'pkcs1' : 'pkcs8'
  try {
    return createPrivateKey({ key: der, format: 'der', type })
  } catch {
    // SAFETY: the error is not kept, since it comes of reading a secret.
    return undefined
  }
}

/** @throws AcmeError `certificate_invalid` for a key that browsers refuse, or that costs too much */
export function checkKeyType({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): KeyType {
  const { namedCurve = '', modulusLength: bits = 0, publicExponent: exponent = 0n } = details ?? {}
  if (type === 'ec' && namedCurve in CURVES) return 'ec'
  if (type === 'ec')
    throw refusal(`The key is on the curve ${namedCurve || '(explicit)'}; it must be P-256 or P-384.`)
  if (type !== 'rsa') throw refusal(`The key is ${type ?? 'unknown'}; it must be EC (P-256, P-384) or RSA.`)
  if (bits < MIN_RSA_BITS) throw refusal(`The RSA key has ${bits} bits; it must have 2048 at least.`)
  if (bits > MAX_RSA_BITS)
    throw refusal(`The RSA key has ${bits} bits, which would make each handshake too dear; 4096 is the most.`)
  if (exponent >= MAX_EXPONENT)
    throw refusal('The RSA key has a public exponent of more than 32 bits, which clients refuse.')
  return 'rsa'
}

/** Signs once: a key may have the certificate's public half and still be damaged. @throws AcmeError `certificate_invalid` */
export async function checkKeyWorks(key: KeyObject, { publicKey }: X509Certificate): Promise<void> {
  const message = Buffer.from('landfall: the key belongs to the certificate')
  const signature = await signInPool('sha256', message, key).catch(() => Buffer.alloc(0))
  if (signature.length > 0 && verify('sha256', message, publicKey, signature)) return
  throw refusal('The key does not sign for the certificate: it is damaged.')
}
