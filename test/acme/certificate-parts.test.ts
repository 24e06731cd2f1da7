/** Certificates that strangers made: their keys are judged before anything costly is done with them. */

import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import t from 'tap'
import { readCertificate, UnusualKeyError } from '../../acme/certificate-parts.ts'
import { DerError, readChildren, readDer, TAGS, toBitString, toDer, toOid } from '../../acme/der.ts'
import { extension, mint } from '../helpers/minted.ts'

/** The certificate with another SubjectPublicKeyInfo. */
function withKeyInfo(der: Buffer, info: Buffer): Buffer {
  const [signed, ...rest] = readChildren(readDer(der))
  if (signed === undefined) throw new TypeError('there is no certificate')
  const fields = readChildren(signed).map(({ raw }) => raw)
  return toDer(TAGS.sequence, toDer(TAGS.sequence, ...fields.with(6, info)), ...rest.map(({ raw }) => raw))
}

const keyInfo = (...algorithm: Buffer[]) =>
  toDer(TAGS.sequence, toDer(TAGS.sequence, ...algorithm), toBitString(Buffer.alloc(65, 4)))

t.test('reads the parts that OCSP asks with', async (t) => {
  const issuer = await mint({ isAuthority: true, subject: 'CN=Issuer' })
  const { der } = await mint({ issuer, names: ['www.shop.example'] })
  const parts = readCertificate(der)
  t.same(parts.certificate.raw, der)
  t.equal(parts.serial.toString('hex').toUpperCase(), parts.certificate.serialNumber)
  t.same(parts.issuer, readCertificate(issuer.der).subject)
  const info = parts.certificate.publicKey.export({ type: 'spki', format: 'der' })
  t.same(parts.keyBits, info.subarray(-65))
})

t.test('keys of unusual kinds are refused before OpenSSL reads them', async (t) => {
  const { der } = await mint()
  const ec = toOid('1.2.840.10045.2.1')
  const explicit = generateKeyPairSync('ec', { namedCurve: 'P-256', paramEncoding: 'explicit' }).publicKey
  for (const [what, info] of [
    ['explicit parameters', explicit.export({ type: 'spki', format: 'der' })],
    // Nobody can read these: that they count as unusual says that nobody has tried.
    ['parameters that are none', keyInfo(ec, toDer(TAGS.sequence))],
    ['another curve', keyInfo(ec, toOid('1.3.132.0.10'))],
    ['no curve', keyInfo(ec)],
    ['another kind', keyInfo(toOid('1.2.840.10040.4.1'))],
    ['a name in more bytes than it needs', keyInfo(ec, Buffer.from('0681082a8648ce3d030107', 'hex'))],
  ] as const)
    t.throws(() => readCertificate(withKeyInfo(der, info)), UnusualKeyError, what)
  for (const kind of ['P-256', 'P-384', 'P-521', 'ed25519', 'rsa-2048', 'rsa-4096'] as const)
    t.ok(readCertificate((await mint({ kind })).der), kind)
})

t.test('PEM inside of DER is not the certificate', async (t) => {
  const inner = await mint({ subject: 'CN=inner' })
  const text = Buffer.from(`\n${inner.pem}`).toString('hex')
  const { der } = await mint({ subject: 'CN=outer', extensions: [extension('1.2.3.4', text)] })
  t.equal(new X509Certificate(der).subject, 'CN=inner', 'as node:crypto reads it')
  t.equal(readCertificate(der).certificate.subject, 'CN=outer')
})

t.test('what is no certificate is refused', async (t) => {
  const { der } = await mint()
  for (const bytes of [Buffer.alloc(0), der.subarray(0, -1), Buffer.concat([der, Buffer.alloc(1)])])
    t.throws(() => readCertificate(bytes), DerError)
  t.throws(() => readCertificate(toDer(TAGS.sequence, toDer(TAGS.sequence))), DerError)
})
