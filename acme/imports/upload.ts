/** Uploaded certificates: whatever was sent, checked until nothing is left that a client would refuse. */

import type { KeyObject } from 'node:crypto'
import type { KeyType } from '../rows.ts'
import { type ChainMember, checkMembers, readMembers, toChain } from './chain.ts'
import { checkLeaf } from './leaf-rules.ts'
import { parsePem } from './pem.ts'
import { openPkcs12 } from './pkcs12.ts'
import { checkKeyType, checkKeyWorks, readDerKey, readPemKey } from './private-key.ts'
import { refusal, shown } from './refusal.ts'

/** Either PEM, or PKCS#12 in base64. */
export type Upload =
  | { readonly certificate: string; readonly key: string }
  | { readonly pkcs12: string; readonly passphrase?: string }

export interface UploadRules {
  /** Unix milliseconds. */
  readonly now: () => number
  /** What the certificate has to cover; a wildcard is wanted as such. */
  readonly hostnames: readonly string[]
}

/** A certificate that can be served. */
export interface ReadUpload {
  readonly keyType: KeyType
  /** DER, the leaf first, without the root. */
  readonly chain: readonly Buffer[]
  /** PKCS#8. */
  readonly keyDer: Buffer
  readonly notBefore: Date
  readonly notAfter: Date
}

const MAX_UPLOAD_BYTES = 65_536
const MAX_KEY_BYTES = 16_384
/**
 * Of DER, without the root. A hundred names and three issuers have 8 KiB; every edge has all chains in memory, and sends
 * one in each full handshake.
 */
const MAX_CHAIN_BYTES = 16_384
const MAX_PASSPHRASE_CHARACTERS = 1_024
const CERTIFICATE_LABELS: readonly string[] = ['CERTIFICATE', 'X509 CERTIFICATE']

/** @throws AcmeError `certificate_invalid` whose detail says what is wrong, and nothing of the key */
export async function readUpload(upload: Upload, { now, hostnames }: UploadRules): Promise<ReadUpload> {
  const { ders, key } = 'pkcs12' in upload ? await readPkcs12(upload) : readPemUpload(upload)
  const keyType = checkKeyType(key)
  const chain = toChain(readMembers(ders), ({ certificate }) => certificate.checkPrivateKey(key))
  checkLength(chain)
  const [leaf] = chain
  checkLeaf(leaf, hostnames)
  checkMembers(chain, now())
  await checkKeyWorks(key, leaf.certificate)
  return {
    keyType,
    chain: chain.map(({ certificate }) => certificate.raw),
    keyDer: key.export({ type: 'pkcs8', format: 'der' }),
    notBefore: leaf.certificate.validFromDate,
    notAfter: leaf.certificate.validToDate,
  }
}

interface Parts {
  readonly ders: readonly Buffer[]
  readonly key: KeyObject
}

function readPemUpload({ certificate, key }: { readonly certificate: string; readonly key: string }): Parts {
  checkSize('certificate', certificate, MAX_UPLOAD_BYTES)
  checkSize('key', key, MAX_KEY_BYTES)
  const blocks = parsePem(certificate, 'certificate')
  const stray = blocks.find(({ label }) => !CERTIFICATE_LABELS.includes(label))
  if (stray) throw refusal(`"certificate" holds a ${shown(stray.label)}; it must hold certificates alone.`)
  return { ders: blocks.map(({ der }) => der), key: readPemKey(key) }
}

async function readPkcs12({
  pkcs12,
  passphrase = '',
}: {
  readonly pkcs12: string
  readonly passphrase?: string
}): Promise<Parts> {
  checkSize('pkcs12', pkcs12, Math.ceil(MAX_UPLOAD_BYTES / 3) * 4)
  if (passphrase.length > MAX_PASSPHRASE_CHARACTERS)
    throw refusal(`"passphrase" is longer than ${MAX_PASSPHRASE_CHARACTERS} characters.`)
  const text = pkcs12.replace(/[\r\n]/g, '')
  const file = Buffer.from(text, 'base64')
  if (file.length === 0 || file.toString('base64') !== text) throw refusal('"pkcs12" is not base64.')
  const { certificates, keys } = await openPkcs12(file, passphrase)
  const [key] = keys
  if (key === undefined) throw refusal('The PKCS#12 file holds no private key.')
  if (keys.length > 1) throw refusal(`The PKCS#12 file holds ${keys.length} keys; it must be one.`)
  return { ders: certificates, key: readDerKey(key) }
}

function checkLength(chain: readonly ChainMember[]): void {
  const bytes = chain.reduce((sum, { certificate }) => sum + certificate.raw.length, 0)
  if (bytes <= MAX_CHAIN_BYTES) return
  throw refusal(
    `The chain has ${bytes} bytes, which every handshake would send; ${MAX_CHAIN_BYTES} is the most.`,
  )
}

function checkSize(what: string, text: string, limit: number): void {
  if (Buffer.byteLength(text) <= limit) return
  throw refusal(`"${what}" is longer than ${limit} bytes.`)
}
