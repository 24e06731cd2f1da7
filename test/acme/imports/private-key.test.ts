/** Private keys that are made to cost: RSA with false primes, curves that come with parameters of their own. */

import { checkPrimeSync, generateKeyPairSync, generatePrimeSync, sign, verify } from 'node:crypto'
import t from 'tap'
import {
  contextTag,
  readChildren,
  readDer,
  readInteger,
  TAGS,
  toDer,
  toInteger,
  toOid,
} from '../../../acme/der.ts'
import { AcmeError } from '../../../acme/errors.ts'
import { createRsaKey } from '../../../acme/imports/rsa-key.ts'
import { readUpload } from '../../../acme/imports/upload.ts'
import { type Minted, mint, NOW } from '../../helpers/minted.ts'

const NAMES = ['www.shop.example']
const RSA = ['version', 'n', 'e', 'd', 'p', 'q', 'dp', 'dq', 'qi'] as const
type RsaPart = (typeof RSA)[number]
type RsaParts = Readonly<Record<RsaPart, bigint>>

const toPem = (label: string, der: Buffer) =>
  `-----BEGIN ${label}-----\n${der.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END ${label}-----\n`

function partsOf({ key }: Minted): RsaParts {
  const fields = readChildren(readDer(key.export({ type: 'pkcs1', format: 'der' }))).map(readInteger)
  return Object.fromEntries(RSA.map((part, at) => [part, fields[at] ?? 0n])) as RsaParts
}

const toPkcs1 = (parts: RsaParts, ...more: Buffer[]) =>
  toDer(TAGS.sequence, ...RSA.map((part) => toInteger(parts[part])), ...more)

/** The key that is kept, or why there is none. */
async function tryKey({ pem: certificate }: Minted, key: string) {
  try {
    return (await readUpload({ certificate, key }, { now: () => NOW, hostnames: NAMES })).keyDer
  } catch (error) {
    if (!(error instanceof AcmeError)) throw error
    return error.detail ?? ''
  }
}

t.test('of an RSA key nothing but modulus, exponent and primes is kept', async (t) => {
  const leaf = await mint({ kind: 'rsa-2048', names: NAMES })
  const parts = partsOf(leaf)
  const garbage = (1n << 2_048n) - 1n
  const changed = { ...parts, d: garbage, dp: garbage, dq: garbage, qi: garbage }
  const kept = await tryKey(leaf, toPem('RSA PRIVATE KEY', toPkcs1(changed)))
  t.same(kept, leaf.key.export({ type: 'pkcs8', format: 'der' }), 'it is whole again')
})

t.test('RSA keys whose primes are none, too long, or too many are refused', async (t) => {
  const leaf = await mint({ kind: 'rsa-2048', names: NAMES })
  const parts = partsOf(leaf)
  const long = (1n << 4_096n) - 1n
  const other = toDer(TAGS.sequence, toDer(TAGS.sequence, ...[7n, 5n, 3n].map(toInteger)))
  const foreign = /primes that do not belong to it/
  for (const [what, der, reason] of [
    ['long', toPkcs1({ ...parts, p: long, q: long - 2n }), foreign],
    ['one of them 1', toPkcs1({ ...parts, p: parts.n, q: 1n }), foreign],
    ['absent', toPkcs1({ ...parts, p: 0n, q: 0n }), foreign],
    ['three', toPkcs1({ ...parts, version: 1n }, other), /more than two primes/],
    ['with an exponent that they do not fit', toPkcs1({ ...parts, e: 4n }), /cannot be read/],
    ['with an exponent that changes nothing', toPkcs1({ ...parts, e: 1n }), /with which anybody signs/],
  ] as const)
    t.match(await tryKey(leaf, toPem('RSA PRIVATE KEY', der)), reason, what)
})

t.test('an RSA key that signs rightly without its primes alone is refused', async (t) => {
  const parts = falsePrimes()
  const key = createRsaKey(toPkcs1(parts))
  const message = Buffer.from('any')
  t.ok(verify('sha256', message, key, sign('sha256', message, key)), 'OpenSSL computes it twice')
  const leaf = await mint({ kind: 'rsa-2048', key, names: NAMES })
  t.match(await tryKey(leaf, leaf.keyPem), /does not sign for the certificate: it is damaged/)
})

/** `p` is a product of two primes, each of which goes into `q - 1` less one: so the private exponent is right. */
function falsePrimes(): RsaParts {
  const prime = () => generatePrimeSync(512, { bigint: true })
  for (;;) {
    const [one, other] = [prime(), prime()]
    const step = (one - 1n) * (other - 1n)
    const p = one * other
    const e = 65_537n
    for (let times = 1n; times < 4_000n; times += 1n) {
      const q = step * times + 1n
      if (p * q < 1n << 2_047n || (q - 1n) % e === 0n || (p - 1n) % e === 0n || !checkPrimeSync(q)) continue
      return { version: 0n, n: p * q, e, d: 0n, p, q, dp: 0n, dq: 0n, qi: 0n }
    }
  }
}

t.test('curves are taken by name alone, wherever they stand', async (t) => {
  const leaf = await mint({ names: NAMES })
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256', paramEncoding: 'explicit' })
  const unusual = /EC with its curve by name/
  t.match(await tryKey(leaf, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()), unusual)
  t.match(await tryKey(leaf, privateKey.export({ type: 'sec1', format: 'pem' }).toString()), unusual)
  const named = leaf.key.export({ type: 'sec1', format: 'der' })
  const fields = readChildren(readDer(named)).map(({ raw }) => raw)
  const hidden = toDer(TAGS.sequence, ...fields.with(2, toDer(contextTag(0), toDer(TAGS.sequence))))
  const ec = toDer(TAGS.sequence, toOid('1.2.840.10045.2.1'), toOid('1.2.840.10045.3.1.7'))
  const wrap = (inner: Buffer) => toDer(TAGS.sequence, toInteger(0n), ec, toDer(TAGS.octetString, inner))
  t.match(await tryKey(leaf, toPem('PRIVATE KEY', wrap(hidden))), unusual, 'inside of PKCS#8')
  t.ok(Buffer.isBuffer(await tryKey(leaf, toPem('PRIVATE KEY', wrap(named)))), 'the same name twice')
  const nameless = toDer(TAGS.sequence, ...fields.toSpliced(2, 1))
  t.match(await tryKey(leaf, toPem('EC PRIVATE KEY', nameless)), unusual)
})

t.test('a key with the right public half that does not sign is found out', async (t) => {
  const leaf = await mint({ names: NAMES })
  const fields = readChildren(readDer(leaf.key.export({ type: 'sec1', format: 'der' }))).map(({ raw }) => raw)
  const wrong = toDer(TAGS.sequence, ...fields.with(1, toDer(TAGS.octetString, Buffer.alloc(32, 7))))
  t.match(
    await tryKey(leaf, toPem('EC PRIVATE KEY', wrong)),
    /does not sign for the certificate: it is damaged/,
  )
})
