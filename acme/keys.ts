/** Makes the private keys of certificates and accounts, and reads them as they are kept. */

import { createPrivateKey, generateKeyPair as generateKeyPairWithCallback, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import type { KeyType } from './rows.ts'

const RSA_BITS = 2_048
const generateKeyPair = promisify(generateKeyPairWithCallback)

/** A new private key, made off the event loop: EC P-256, or RSA of 2,048 bits. */
export async function generateKey(keyType: KeyType): Promise<KeyObject> {
  const { privateKey } =
    keyType === 'ec'
      ? await generateKeyPair('ec', { namedCurve: 'P-256' })
      : await generateKeyPair('rsa', { modulusLength: RSA_BITS })
  return privateKey
}

/** The private key that `der`, PKCS#8, holds. */
export function toPrivateKey(der: Buffer): KeyObject {
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
}
