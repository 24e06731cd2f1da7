/** Takes certificates and keys out of a PKCS#12 file (RFC 7292) by node-forge. It blocks: a worker runs it. */

import { pbkdf2Sync } from 'node:crypto'
import forge from 'node-forge'

export interface Bags {
  /** DER. */
  readonly certificates: readonly Buffer[]
  /** PKCS#8 in DER. */
  readonly keys: readonly Buffer[]
}

/** Why a file cannot be opened, in words for whoever sent it. */
export class Pkcs12Refusal extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'Pkcs12Refusal'
  }
}

/** The most that a tool is known to write is 600,000 for each part; OpenSSL writes 2,048, Java 10,000. */
const MAX_ITERATIONS = 600_000
/** Of all parts of a file together: 2 s. */
const MAX_COST = 800_000
/** PBKDF2 is done by node:crypto, ten times as fast as the rest in node-forge. */
const PBKDF2_COST = 0.1
const MAX_DEPTH = 64
const MAX_BAGS = 50
const PBES2 = '1.2.840.113549.1.5.13'

type Asn1 = forge.asn1.Asn1

/** As much of node-forge as its types leave out. */
interface Pbe {
  getCipher(oid: string, parameters: Asn1, password: string | undefined): unknown
}
interface Pkcs5 {
  pbkdf2(
    password: string,
    salt: string,
    iterations: number,
    length: number,
    digest?: { readonly algorithm: string },
  ): string
}

const { pbe } = forge.pki as unknown as { readonly pbe: Pbe }
const { getCipher } = pbe
const pkcs5 = forge.pkcs5 as unknown as Pkcs5

/** @throws Pkcs12Refusal */
export function readBags(file: Buffer, passphrase: string): Bags {
  const pfx = parse(file)
  const budget = new IterationBudget()
  budget.spend(macIterationsOf(pfx), 'MAC')
  guardCiphers(budget)
  const opened = open(pfx, passphrase)
  const bags = opened.safeContents.flatMap(({ safeBags }) => safeBags as forge.pkcs12.Bag[])
  if (bags.length > MAX_BAGS) throw new Pkcs12Refusal(`it holds more than ${MAX_BAGS} certificates and keys`)
  const { certBag, keyBag, pkcs8ShroudedKeyBag } = forge.pki.oids
  const dersOf = (...types: (string | undefined)[]) =>
    bags.filter(({ type }) => types.includes(type)).flatMap(toDer)
  return { certificates: dersOf(certBag), keys: dersOf(keyBag, pkcs8ShroudedKeyBag) }
}

function parse(file: Buffer): Asn1 {
  try {
    const options = { strict: false, parseAllBytes: true, decodeBitStrings: false, maxDepth: MAX_DEPTH }
    return forge.asn1.fromDer(file.toString('binary'), options as never)
  } catch (cause) {
    throw new Pkcs12Refusal('it is no PKCS#12 file, or damaged', { cause })
  }
}

/** A file without a passphrase was made with an empty one, or with none: they count as different ones. */
function open(pfx: Asn1, passphrase: string): forge.pkcs12.Pkcs12Pfx {
  // Old files write lengths as BER does.
  const attempt = (password: string | undefined) => forge.pkcs12.pkcs12FromAsn1(pfx, false, password)
  try {
    return attempt(passphrase)
  } catch (cause) {
    if (cause instanceof Pkcs12Refusal) throw cause
    if (passphrase !== '') throw toRefusal(cause)
  }
  try {
    return attempt(undefined)
  } catch (cause) {
    throw toRefusal(cause)
  }
}

/** Only these are told: other messages of node-forge say nothing to who made the file. */
function toRefusal(cause: unknown): Pkcs12Refusal {
  if (cause instanceof Pkcs12Refusal) return cause
  const message = cause instanceof Error ? cause.message : ''
  if (/MAC could not be verified|Failed to decrypt|decrypt/i.test(message))
    return new Pkcs12Refusal('it does not open with this passphrase, or is damaged', { cause })
  if (/unsupported|not supported/i.test(message))
    return new Pkcs12Refusal(
      'it is encrypted in a way that is not known here: make it anew with "openssl pkcs12 -export"',
      { cause },
    )
  return new Pkcs12Refusal('it is no PKCS#12 file with a passphrase, or damaged', { cause })
}

/** A key that node-forge knows (RSA) is an object as well; EC keys are there as ASN.1 alone. */
function toDer({ asn1, cert, key }: forge.pkcs12.Bag): Buffer[] {
  const value =
    asn1 ??
    (cert
      ? forge.pki.certificateToAsn1(cert)
      : key && forge.pki.wrapRsaPrivateKey(forge.pki.privateKeyToAsn1(key)))
  return value ? [Buffer.from(forge.asn1.toDer(value).getBytes(), 'binary')] : []
}

/** PFX ::= SEQUENCE { version, authSafe, macData SEQUENCE { mac, salt, iterations } }. */
function macIterationsOf({ value }: Asn1): number {
  const macData = Array.isArray(value) ? value[2] : undefined
  const fields = Array.isArray(macData?.value) ? macData.value : []
  return fields[2] === undefined ? 1 : toNumber(fields[2])
}

/**
 * node-forge derives the key of each encrypted part through this function: the place to look at iterations before they
 * are run, and to give PBES2 the passphrase in UTF-8 (RFC 8018 section 3), where the older ways want UTF-16.
 */
function guardCiphers(budget: IterationBudget): void {
  pbe.getCipher = (oid, parameters, password) => {
    const isPbes2 = oid === PBES2
    budget.spend(iterationsOf(parameters, isPbes2), 'encryption', isPbes2 ? PBKDF2_COST : 1)
    return getCipher(oid, parameters, isPbes2 ? forge.util.encodeUtf8(password ?? '') : password)
  }
  pkcs5.pbkdf2 = (password, salt, iterations, length, digest) => {
    const [secret, seed] = [password, salt].map((text) => Buffer.from(text, 'binary'))
    const key = pbkdf2Sync(secret ?? '', seed ?? '', iterations, length, digest?.algorithm ?? 'sha1')
    return key.toString('binary')
  }
}

/** PBES2: SEQUENCE { kdf SEQUENCE { oid, SEQUENCE { salt, iterations } }, … }, else SEQUENCE { salt, iterations }. */
function iterationsOf(parameters: Asn1, isPbes2: boolean): number {
  const [kdf] = childrenOf(parameters)
  const [, count] = isPbes2 ? childrenOf(childrenOf(kdf)[1]) : childrenOf(parameters)
  return count === undefined ? Number.NaN : toNumber(count)
}

function childrenOf(value: Asn1 | undefined): readonly Asn1[] {
  return Array.isArray(value?.value) ? value.value : []
}

function toNumber({ value }: Asn1): number {
  const isNumber = typeof value === 'string' && value.length > 0 && value.length <= 6
  return isNumber ? Buffer.from(value, 'binary').readUIntBE(0, value.length) : Number.NaN
}

/** What one file may cost. */
class IterationBudget {
  #left = MAX_COST

  /** @throws Pkcs12Refusal */
  spend(count: number, what: string, cost = 1): void {
    const isTaken = count >= 1 && count <= MAX_ITERATIONS
    const found = Number.isNaN(count) ? 'no number of iterations that can be read' : `${count} iterations`
    if (!isTaken) throw new Pkcs12Refusal(`its ${what} has ${found}; 1 to ${MAX_ITERATIONS} are taken`)
    this.#left -= count * cost
    if (this.#left < 0) throw new Pkcs12Refusal('all its parts together have too many iterations')
  }
}
