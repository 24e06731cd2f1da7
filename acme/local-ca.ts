/** The local certificate authority for development: made once, kept in a folder, trusted by hand. */

import { createPrivateKey, type KeyObject, randomUUID, X509Certificate } from 'node:crypto'
import { link, mkdir, open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { DAY_MS, HOUR_MS } from '../lib/durations.ts'
import { AcmeError } from './errors.ts'
import { generateKey } from './keys.ts'
import {
  createAuthorityCertificate,
  createServerCertificate,
  type Dates,
  keyIdentifier,
  type Signer,
} from './x509.ts'

const AUTHORITY_LIFE_MS = 3_652 * DAY_MS
/** Browsers refuse server certificates of 398 days and more. */
const SERVER_LIFE_MS = 90 * DAY_MS

export interface IssuedCertificate {
  readonly certPem: string
  /** PKCS#8. */
  readonly keyPem: string
  readonly notAfter: Date
}

export interface LocalCa {
  /** What a client has to trust. */
  readonly certPem: string
  /** Where that certificate is kept, for "trust this file" messages. */
  readonly certFile: string
  readonly notAfter: Date
  /**
   * A new key and a certificate for host names in lower case (a leading `*.` is allowed), valid for
   * 90 days from now and never longer than the authority. @throws AcmeError local_ca_broken when the
   * authority itself has expired
   */
  issue(names: readonly string[]): Promise<IssuedCertificate>
}

interface Pair {
  readonly signer: Signer
  readonly certPem: string
  readonly notAfter: Date
}

/**
 * Reads `ca.pem` and `ca.key` from `folder`, and makes what is missing.
 * `now` answers Unix milliseconds.
 * @throws AcmeError local_ca_broken, local_ca_unwritable
 */
export async function loadLocalCa(
  folder: string,
  { now = Date.now }: { readonly now?: () => number } = {},
): Promise<LocalCa> {
  const pair = await loadPair(folder, now)
  const inTurn = createTurns()
  return {
    certPem: pair.certPem,
    certFile: join(folder, 'ca.pem'),
    notAfter: pair.notAfter,
    issue: async (names) => {
      if (now() >= pair.notAfter.getTime()) throw broken(folder, 'the certificate has expired')
      return inTurn(() => issue(pair, names, now()))
    },
  }
}

async function loadPair(folder: string, now: () => number): Promise<Pair> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const { certPem, keyPem } = await loadFiles(folder, now())
    return checkPair(folder, { certPem, keyPem, nowMs: now() })
  } catch (cause) {
    if (cause instanceof AcmeError) throw cause
    throw new AcmeError('local_ca_unwritable', { cause, detail: `${folder}: ${String(cause)}` })
  }
}

/**
 * The key is in place before the certificate, and the certificate is made for the key that is in place.
 * So neither a crash between the two nor a second process that starts now can leave a pair that does not match.
 */
async function loadFiles(folder: string, nowMs: number): Promise<{ certPem: string; keyPem: string }> {
  const certFile = join(folder, 'ca.pem')
  const keyFile = join(folder, 'ca.key')
  // In this order: where a certificate was read, its key had been written before.
  const certPem = await findText(certFile)
  const keyPem = await findText(keyFile)
  if (certPem !== undefined && keyPem === undefined) throw broken(folder, 'ca.key is missing')
  if (certPem !== undefined && keyPem !== undefined) return { certPem, keyPem }
  const keptKeyPem = keyPem ?? (await claim(keyFile, toPem(await generateKey('ec')), 0o600))
  const signer = toSigner(parseKey(folder, keptKeyPem))
  const made = await createAuthorityCertificate(signer, validityFrom(nowMs, AUTHORITY_LIFE_MS))
  return { keyPem: keptKeyPem, certPem: await claim(certFile, made, 0o644) }
}

function checkPair(
  folder: string,
  { certPem, keyPem, nowMs }: { certPem: string; keyPem: string; nowMs: number },
): Pair {
  const key = parseKey(folder, keyPem)
  const certificate = parseCertificate(folder, certPem)
  if (!certificate.ca) throw broken(folder, 'ca.pem is not the certificate of an authority')
  if (!certificate.checkPrivateKey(key)) throw broken(folder, 'ca.key does not belong to ca.pem')
  if (certificate.subject !== toSigner(key).subject) throw broken(folder, 'ca.pem was not made by Landfall')
  if (nowMs >= certificate.validToDate.getTime()) throw broken(folder, 'the certificate has expired')
  if (nowMs < certificate.validFromDate.getTime())
    throw broken(folder, 'the certificate is not valid yet; check the clock first')
  return { signer: toSigner(key), certPem, notAfter: certificate.validToDate }
}

/**
 * One work at a time, with a turn of the event loop in between: encoding a certificate takes 1.5 ms of CPU,
 * and 200 names asked for at once were measured to hold everything else up for 196 ms.
 */
function createTurns(): <Result>(work: () => Promise<Result>) => Promise<Result> {
  let last: Promise<unknown> = Promise.resolve()
  return (work) => {
    const result = last.then(() => setImmediate()).then(work)
    last = result.catch(() => undefined)
    return result
  }
}

async function issue(pair: Pair, names: readonly string[], nowMs: number): Promise<IssuedCertificate> {
  const key = await generateKey('ec')
  const lifeMs = Math.min(SERVER_LIFE_MS, pair.notAfter.getTime() - nowMs)
  const validity = validityFrom(nowMs, lifeMs)
  const certPem = await createServerCertificate(pair.signer, { names, key, validity })
  return { certPem, keyPem: toPem(key), notAfter: validity.notAfter }
}

/** From an hour ago, for clients whose clock is behind; in whole seconds, as certificates count. */
function validityFrom(nowMs: number, lifeMs: number): Dates {
  const toDate = (ms: number) => new Date(ms - (ms % 1_000))
  return { notBefore: toDate(nowMs - HOUR_MS), notAfter: toDate(nowMs + lifeMs) }
}

function parseKey(folder: string, pem: string): KeyObject {
  let key: KeyObject
  try {
    key = createPrivateKey(pem)
  } catch (cause) {
    throw broken(folder, 'ca.key is not a private key in PEM', cause)
  }
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw broken(folder, 'ca.key is not an EC P-256 key')
  return key
}

function parseCertificate(folder: string, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (cause) {
    throw broken(folder, 'ca.pem is not a certificate in PEM', cause)
  }
}

/** Named after the key, not the machine: two authorities in one trust store can be told apart. */
function toSigner(key: KeyObject): Signer {
  return { key, subject: `CN=Landfall local CA ${keyIdentifier(key).slice(0, 8)}` }
}

function toPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString()
}

function broken(folder: string, reason: string, cause?: unknown): AcmeError {
  return new AcmeError('local_ca_broken', { cause, detail: `${folder}: ${reason}` })
}

async function findText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (isFileError(error, 'ENOENT')) return undefined
    throw error
  }
}

/**
 * Puts a whole, synced file in place unless another process was first, and answers what is in place.
 * A hard link instead of a rename: a rename would replace the other's file.
 */
async function claim(file: string, text: string, mode: number): Promise<string> {
  const draft = `${file}.${randomUUID()}`
  try {
    await writeSynced(draft, text, mode)
    await link(draft, file)
    await syncFolder(join(file, '..'))
    return text
  } catch (error) {
    if (isFileError(error, 'EEXIST')) return await readFile(file, 'utf8')
    throw error
  } finally {
    await rm(draft, { force: true })
  }
}

async function writeSynced(file: string, text: string, mode: number): Promise<void> {
  await using handle = await open(file, 'wx', mode)
  await handle.writeFile(text)
  // The umask may have taken bits away, never added any.
  await handle.chmod(mode)
  await handle.sync()
}

async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder, 'r')
  await handle.sync()
}

function isFileError(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
