/** Uploaded certificates: what is taken, and each thing that is refused with its reason. */

import { createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto'
import t from 'tap'
import { AcmeError } from '../../../acme/errors.ts'
import { readUpload, type Upload } from '../../../acme/imports/upload.ts'
import {
  DIGITAL_SIGNATURE,
  daysFromNow,
  extension,
  KEY_ENCIPHERMENT,
  type Minted,
  mint,
  mintChain,
  NOW,
  newKey,
  pkcs1Of,
  SERVER_AUTH,
  sec1Of,
} from '../../helpers/minted.ts'

const RULES = { now: () => NOW, hostnames: ['www.shop.example'] }
const pem = (key: Minted, ...certificates: readonly Minted[]) => ({
  certificate: certificates.map((one) => one.pem).join(''),
  key: key.keyPem,
})

/** The reason why it is refused; empty when it is not. */
async function reasonOf(upload: Upload, hostnames = RULES.hostnames): Promise<string> {
  try {
    await readUpload(upload, { ...RULES, hostnames })
    return ''
  } catch (error) {
    if (!(error instanceof AcmeError) || error.code !== 'certificate_invalid') throw error
    return error.detail ?? ''
  }
}

t.test('a chain in any order becomes leaf first, without its root', async (t) => {
  const { root, intermediate, leaf } = await mintChain({ names: ['WWW.shop.example', '*.shop.example'] })
  const orders = [
    [leaf, intermediate],
    [leaf, intermediate, root],
    [root, intermediate, leaf],
    [intermediate, leaf, leaf, intermediate],
    [intermediate, root, leaf, await mint({ isAuthority: true })],
  ]
  for (const order of orders) {
    const read = await readUpload(pem(leaf, ...order), RULES)
    t.same(
      read.chain.map((der) => new X509Certificate(der).subject),
      ['CN=leaf', intermediate.subject],
    )
    t.equal(read.keyType, 'ec')
    t.ok(read.keyDer.equals(leaf.key.export({ type: 'pkcs8', format: 'der' })))
    t.same([read.notBefore, read.notAfter], [daysFromNow(-10), daysFromNow(80)])
  }
  const alone = await readUpload(pem(leaf, leaf), RULES)
  t.equal(alone.chain.length, 1, 'a private authority may have no intermediate')
})

t.test('keys of every kind that TLS clients take', async (t) => {
  for (const kind of ['P-256', 'P-384', 'rsa-2048', 'rsa-4096'] as const) {
    const { leaf, intermediate } = await mintChain({ kind })
    const { keyType } = await readUpload(pem(leaf, leaf, intermediate), RULES)
    t.equal(keyType, kind.startsWith('rsa') ? 'rsa' : 'ec')
    const traditional = kind.startsWith('rsa') ? pkcs1Of(leaf.keyPem) : sec1Of(leaf.keyPem)
    t.equal(await reasonOf({ certificate: leaf.pem, key: traditional }), '', `${kind} as OpenSSL wrote it`)
  }
  const { leaf } = await mintChain()
  const parameters = '-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n'
  t.equal(await reasonOf({ certificate: leaf.pem, key: parameters + sec1Of(leaf.keyPem) }), '')
})

t.test('keys that browsers refuse, or that cost too much', async (t) => {
  const cases = [
    ['P-521', /curve secp521r1; it must be P-256 or P-384/],
    ['rsa-1024', /RSA key has 1024 bits; it must have 2048/],
    ['ed25519', /The key is ed25519; it must be EC/],
  ] as const
  for (const [kind, reason] of cases) {
    const leaf = await mint({ kind, names: ['www.shop.example'] })
    t.match(await reasonOf(pem(leaf, leaf)), reason)
  }
  const { leaf } = await mintChain()
  const long = generateKeyPairSync('rsa', { modulusLength: 4_104 }).privateKey
  const key = long.export({ type: 'pkcs8', format: 'pem' }).toString()
  t.match(
    await reasonOf({ certificate: leaf.pem, key }),
    /4104 bits, which would make each handshake too dear/,
  )
})

t.test('a key that is another, encrypted, damaged, or not alone', async (t) => {
  const { leaf, intermediate } = await mintChain()
  const certificate = leaf.pem + intermediate.pem
  const other = newKey('P-256')
  const encrypted = leaf.key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
  const old = leaf.key.export({ type: 'sec1', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
  const cases: [string, RegExp][] = [
    [
      other.export({ type: 'pkcs8', format: 'pem' }).toString(),
      /The key belongs to none of the certificates/,
    ],
    [encrypted.toString(), /encrypted\. Send it without a passphrase \(openssl pkey -in KEY -out PLAIN\)/],
    [old.toString(), /The key is encrypted/],
    [leaf.keyPem + leaf.keyPem, /2 keys/],
    [leaf.keyPem + leaf.pem, /"key" holds a CERTIFICATE/],
    ['', /"key" holds no key/],
    ['secret', /In "key" line 1 is no PEM: it begins with "-----BEGIN"/],
    [leaf.keyPem.replace('MIG', 'MII'), /The PRIVATE KEY cannot be read/],
    [leaf.keyPem.replace('-----END', '-----EMD'), /begins in line 1 has no end/],
    [`${leaf.keyPem}${'\n'.repeat(20_000)}`, /"key" is longer than 16384 bytes/],
  ]
  for (const [key, reason] of cases) t.match(await reasonOf({ certificate, key }), reason)
  t.match(await reasonOf(pem(intermediate, intermediate)), /authority \(CA:TRUE\)/)
})

t.test('a chain that is too long for handshakes', async (t) => {
  const names = (count: number) =>
    Array.from({ length: count }, (_, at) => `${at}.a-name-of-usual-length.example`).concat(RULES.hostnames)
  const { leaf, intermediate, root } = await mintChain({ names: names(100) })
  t.equal(await reasonOf(pem(leaf, leaf, intermediate, root)), '', 'a hundred names are none too many')
  const long = await mint({ names: names(500), issuer: intermediate })
  t.match(await reasonOf(pem(long, long, intermediate)), /The chain has \d+ bytes.*; 16384 is the most/)
})

t.test('names: alternative names alone, and a wildcard for one label', async (t) => {
  const tries = async (names: readonly string[] | undefined, hostnames = RULES.hostnames) => {
    const leaf = await mint({ subject: 'CN=www.shop.example', ...(names && { names }) })
    return reasonOf(pem(leaf, leaf), hostnames)
  }
  t.match(await tries(undefined), /no DNS name among its alternative names; a common name does not count/)
  t.equal(await tries(['*.shop.example']), '')
  t.match(await tries(['shop.example']), /does not cover "www\.shop\.example", only shop\.example\./)
  t.match(await tries(['*.example']), /no DNS name/)
  t.match(await tries(['*.www.shop.example']), /does not cover/)
  t.match(await tries(['w*.shop.example', '*ww.shop.example']), /no DNS name/)
  t.match(
    await tries(['a', 'b', 'c', 'd'].map((label) => `${label}.example`).concat('e.example', 'f.example')),
    / and 1 more\.$/,
  )
  const both = ['example.test', '*.example.test']
  t.equal(await tries(both, both), '')
  t.match(await tries(['example.test', 'www.example.test'], both), /does not cover "\*\.example\.test"/)
})

t.test('times of the leaf and of its issuers', async (t) => {
  const ended = await mintChain({ notAfter: daysFromNow(-1) })
  t.match(await reasonOf(pem(ended.leaf, ended.leaf)), /The certificate ended at 2026-06-14T12:00:00\.000Z/)
  const early = await mintChain({ notBefore: daysFromNow(1) })
  t.match(await reasonOf(pem(early.leaf, early.leaf)), /begins only at 2026-06-16/)
  const skewed = await mintChain({ notBefore: new Date(NOW + 1_800_000) })
  t.equal(await reasonOf(pem(skewed.leaf, skewed.leaf)), '', "half an hour is a clock's difference")
  const root = await mint({ isAuthority: true, subject: 'CN=Old Root' })
  const old = await mint({ isAuthority: true, subject: 'CN=Old', issuer: root, notAfter: daysFromNow(-1) })
  const leaf = await mint({ issuer: old, names: ['www.shop.example'] })
  t.match(await reasonOf(pem(leaf, leaf, old)), /issuer's certificate of "CN=Old" ended at/)
})

t.test('signatures that nobody trusts any more', async (t) => {
  for (const kind of ['P-256', 'rsa-2048'] as const) {
    const root = await mint({ isAuthority: true, kind })
    const leaf = await mint({ issuer: root, names: ['www.shop.example'], hash: 'SHA-1' })
    t.match(await reasonOf(pem(leaf, leaf, root)), /signed with SHA-1/)
  }
  const root = await mint({ isAuthority: true })
  const weak = await mint({ isAuthority: true, issuer: root, hash: 'SHA-1', subject: 'CN=Weak' })
  const leaf = await mint({ issuer: weak, names: ['www.shop.example'] })
  t.match(await reasonOf(pem(leaf, leaf, weak)), /"CN=Weak" is signed with SHA-1/)
  const strange = await mint({ isAuthority: true, kind: 'ed25519' })
  const below = await mint({ issuer: strange, names: ['www.shop.example'] })
  t.match(await reasonOf(pem(below, below)), /signed with 1\.3\.101\.112, which browsers do not take/)
})

t.test('what a certificate is for', async (t) => {
  const names = ['www.shop.example']
  const tries = async (wanted: Parameters<typeof mint>[0]) => {
    const leaf = await mint({ names, ...wanted })
    return reasonOf(pem(leaf, leaf))
  }
  t.match(await tries({ isAuthority: true }), /CA:TRUE/)
  t.match(
    await tries({ uses: ['1.3.6.1.5.5.7.3.2'] }),
    /not for servers: its extended key usage lacks serverAuth/,
  )
  t.equal(await tries({ uses: [SERVER_AUTH, '1.3.6.1.5.5.7.3.2'] }), '')
  t.equal(await tries({ uses: ['2.5.29.37.0'] }), '')
  t.match(await tries({ keyUsage: KEY_ENCIPHERMENT }), /lacks digitalSignature/)
  t.equal(await tries({ keyUsage: DIGITAL_SIGNATURE }), '')
  t.match(await tries({ extensions: [extension('1.3.6.1.5.5.7.1.24', '3003020105')] }), /must be stapled/)
  t.match(
    await tries({ extensions: [extension('1.3.6.1.4.1.11129.2.4.3', '0500', true)] }),
    /precertificate \(RFC 6962\)/,
  )
  t.match(await tries({ extensions: [extension('1.2.3.4', '0500', true)] }), /critical extension 1\.2\.3\.4/)
  t.equal(await tries({ extensions: [extension('1.2.3.4', '0500')] }), '')
  t.match(
    await tries({ extensions: [extension('2.5.29.15', '0500')] }),
    /cannot be read/,
    'a key usage that is none',
  )
})

t.test('a chain that is none', async (t) => {
  const { leaf, intermediate, root } = await mintChain()
  const other = await mintChain()
  t.match(
    await reasonOf(pem(leaf, leaf, intermediate, other.intermediate)),
    /does not belong to the chain, which ends with/,
  )
  t.match(await reasonOf(pem(leaf, leaf, other.leaf)), /"CN=leaf" does not belong to the chain/)
  const forged = await mint({ isAuthority: true, subject: intermediate.subject, issuer: root })
  t.match(await reasonOf(pem(leaf, leaf, forged)), /does not belong/, 'the same name with another key')
  const server = await mint({ issuer: intermediate, names: ['www.shop.example'], subject: 'CN=server' })
  const below = await mint({ issuer: server, names: ['www.shop.example'] })
  t.match(await reasonOf(pem(below, below, server)), /does not belong|not one of an authority/)
  t.match(await reasonOf(pem(root, leaf)), /belongs to none/)
  const many = Array.from({ length: 11 }, () => leaf)
  t.match(await reasonOf(pem(leaf, ...many)), /11 certificates/)
})

t.test('a chain with a gap before its root is refused, and says which certificate is missing', async (t) => {
  const { leaf, intermediate, root } = await mintChain()
  const reason = await reasonOf(pem(leaf, leaf, root))
  t.match(reason, `"${root.subject}" does not belong to the chain, which ends with "CN=leaf"`)
  t.match(reason, `issued by "${intermediate.subject}"`)
  t.match(await reasonOf(pem(leaf, leaf, intermediate, await mint({ isAuthority: true }))), /does not belong/)
})

t.test('keys that are made to cost much are never verified with', async (t) => {
  const root = await mint({ isAuthority: true })
  const dearKey = toDear(newKey('rsa-2048'))
  // Names and extensions fit, so that only the signature could tell.
  const leaf = await mint({ issuer: { ...root, subject: 'CN=Dear' }, names: ['www.shop.example'] })
  const dear = await Promise.all(
    Array.from({ length: 9 }, () =>
      mint({ isAuthority: true, subject: 'CN=Dear', key: dearKey, kind: 'rsa-2048' }),
    ),
  )
  const upload = pem(leaf, ...dear, leaf)
  const before = process.threadCpuUsage()
  t.match(await reasonOf(upload), /Certificate 1 has a key that is not taken here/)
  const ms = process.threadCpuUsage(before).user / 1_000
  t.ok(ms < 200, `${ms} ms of the processor`)
  const own = await mint({ names: ['www.shop.example'], key: dearKey, kind: 'rsa-2048' })
  t.match(await reasonOf(pem(own, leaf)), /public exponent of more than 32 bits/)
  const large = await mint({ isAuthority: true, key: newKey('rsa-5120'), kind: 'rsa-2048' })
  t.match(await reasonOf(pem(leaf, leaf, large)), /Certificate 2 has a key/)
})

/** With the two exponents exchanged: as good a key, but slow where it is meant to be fast. */
function toDear(key: KeyObject): KeyObject {
  const { d = '', e = '', ...rest } = key.export({ format: 'jwk' })
  return createPrivateKey({ key: { ...rest, d: e, e: d }, format: 'jwk' })
}

t.test('junk is refused, remarks of OpenSSL are not', async (t) => {
  const { leaf, intermediate } = await mintChain()
  const key = leaf.keyPem
  const remarks = `Bag Attributes\n    localKeyID: 01 02\n    friendlyName: x\nsubject=CN=leaf\n\nissuer=CN=x\n# mine\n 0 s:CN = leaf\n   i:CN = x\n`
  t.equal(await reasonOf({ certificate: `\u{feff}${remarks}${leaf.pem.replaceAll('\n', '\r\n')}`, key }), '')
  const body = leaf.der.toString('base64')
  const block = (text: string, label = 'CERTIFICATE') =>
    `-----BEGIN ${label}-----\n${text}\n-----END ${label}-----\n`
  const cases: [string, RegExp][] = [
    ['', /There is no certificate in it/],
    [`${leaf.pem}and more`, /line \d+ is no PEM/],
    [leaf.pem + key, /"certificate" holds a PRIVATE KEY; it must hold certificates alone/],
    [block(body, 'PKCS7'), /holds a PKCS7/],
    [block(`${body.slice(0, -8)}****${body.slice(-4)}`), /is not base64/],
    [block(`${body.slice(0, 40)}=\n${body.slice(40)}`), /is not base64/],
    [block('AAAA'), /Certificate 1 cannot be read/],
    [
      intermediate.pem + block(Buffer.concat([leaf.der, Buffer.from([0])]).toString('base64')),
      /Certificate 2 cannot/,
    ],
    [leaf.pem.replace('-----END CERTIFICATE-----', ''), /has no end/],
    [block(''), /Certificate 1 cannot be read/],
  ]
  for (const [certificate, reason] of cases) t.match(await reasonOf({ certificate, key }), reason)
})

t.test('details name nothing of the key, and cannot forge a terminal', async (t) => {
  const leaf = await mint({ names: ['www.other.example'], subject: 'CN=a\u001b[31m\u202eb' })
  const stray = await mint({ isAuthority: true, issuer: leaf, subject: 'CN=\u001b]0;x\u0007\u2028' })
  const reason = await reasonOf(pem(leaf, leaf, stray), ['www.other.example'])
  t.match(reason, /does not belong/)
  t.notMatch(reason, /[\p{Cc}\u202e\u2028]/u)
  const { keyPem } = leaf
  for (const key of [`${keyPem}x`, keyPem.replace('\n', '\n!'), keyPem.slice(0, -30), keyPem.slice(30)]) {
    const detail = await reasonOf({ certificate: leaf.pem, key })
    t.not(detail, '')
    t.notOk(
      keyPem
        .split('\n')
        .some((line) => line.length > 8 && detail.includes(line.slice(0, 12)) && !line.startsWith('-')),
    )
  }
})
