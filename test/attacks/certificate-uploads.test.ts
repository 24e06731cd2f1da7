/** Attacks by uploaded certificates: huge and deep ones, PKCS#12 files that would take for ever, names that are paths. */

import { once } from 'node:events'
import forge from 'node-forge'
import t, { type Test } from 'tap'
import { AcmeError } from '../../acme/errors.ts'
import { readUpload, type Upload } from '../../acme/imports/upload.ts'
import { createFakeDesk } from '../helpers/certificate-desk.ts'
import { mint, mintChain, NOW } from '../helpers/minted.ts'
import { apiFor } from '../routing/api/api-client.ts'

const { asn1, pki } = forge
const { UNIVERSAL, CONTEXT_SPECIFIC } = asn1.Class
const RULES = { now: () => NOW, hostnames: ['www.shop.example'] }
const LIMIT_MS = 5_000

/** Why it was refused, and how long that took. */
async function refuse(t: Test, upload: Upload, reason: RegExp): Promise<void> {
  const startedAt = performance.now()
  const error = await readUpload(upload, RULES).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  const tookMs = performance.now() - startedAt
  t.ok(error instanceof AcmeError && error.code === 'certificate_invalid')
  t.match(error, { detail: reason })
  t.ok((error as AcmeError).message.length <= 500)
  t.ok(tookMs < LIMIT_MS, `${Math.round(tookMs)} ms`)
}

const sequence = (...values: forge.asn1.Asn1[]) => asn1.create(UNIVERSAL, asn1.Type.SEQUENCE, true, values)
const octets = (value: string) => asn1.create(UNIVERSAL, asn1.Type.OCTETSTRING, false, value)
const oid = (text: string) => asn1.create(UNIVERSAL, asn1.Type.OID, false, asn1.oidToDer(text).getBytes())
const integer = (value: number) =>
  asn1.create(UNIVERSAL, asn1.Type.INTEGER, false, asn1.integerToDer(value).getBytes())
const explicit = (value: forge.asn1.Asn1) => asn1.create(CONTEXT_SPECIFIC, 0 as never, true, [value])
const derOf = (value: forge.asn1.Asn1) => asn1.toDer(value).getBytes()
const data = (value: string) => sequence(oid('1.2.840.113549.1.7.1'), explicit(octets(value)))

interface Pfx {
  readonly contents: readonly forge.asn1.Asn1[]
  readonly macIterations?: number
}

function pfx({ contents, macIterations }: Pfx): string {
  const mac = sequence(
    sequence(
      sequence(oid(String(pki.oids.sha256)), asn1.create(UNIVERSAL, asn1.Type.NULL, false, '')),
      octets('x'.repeat(32)),
    ),
    octets('saltsalt'),
    integer(macIterations ?? 1),
  )
  const safe = data(derOf(sequence(...contents)))
  const whole = sequence(integer(3), safe, ...(macIterations === undefined ? [] : [mac]))
  return Buffer.from(derOf(whole), 'binary').toString('base64')
}

/** Encrypted contents whose key takes so many iterations. */
function encrypted(iterations: number): forge.asn1.Asn1 {
  const kdf = sequence(oid('1.2.840.113549.1.5.12'), sequence(octets('saltsalt'), integer(iterations)))
  const cipher = sequence(oid('2.16.840.1.101.3.4.1.42'), octets('i'.repeat(16)))
  const algorithm = sequence(oid('1.2.840.113549.1.5.13'), sequence(kdf, cipher))
  const content = asn1.create(CONTEXT_SPECIFIC, 0 as never, false, 'c'.repeat(32))
  const info = sequence(oid('1.2.840.113549.1.7.1'), algorithm, content)
  return sequence(oid('1.2.840.113549.1.7.6'), explicit(sequence(integer(0), info)))
}

t.test('PKCS#12 iteration bombs are not lit', async (t) => {
  await refuse(
    t,
    { pkcs12: pfx({ contents: [], macIterations: 2_000_000_000 }) },
    /its MAC has 2000000000 iterations; 1 to 600000/,
  )
  await refuse(t, { pkcs12: pfx({ contents: [], macIterations: 0 }) }, /its MAC has 0 iterations/)
  await refuse(
    t,
    { pkcs12: pfx({ contents: [encrypted(100_000_000)] }) },
    /its encryption has 100000000 iterations/,
  )
  await refuse(
    t,
    { pkcs12: pfx({ contents: [encrypted(-1)] }) },
    /its encryption has 255 iterations|damaged|does not open/,
  )
})

t.test('many dear parts in one file end with the first that does not open', async (t) => {
  const parts = Array.from({ length: 40 }, () => encrypted(600_000))
  await refuse(t, { pkcs12: pfx({ contents: parts, macIterations: 600_000 }) }, /does not open/)
  await refuse(t, { pkcs12: pfx({ contents: parts }) }, /does not open|damaged|together/)
})

t.test('a crowd of files is opened one at a time, and most of it is sent away', async (t) => {
  const file = { pkcs12: pfx({ contents: [encrypted(10_000)] }) }
  const crowd = await Promise.all(
    Array.from({ length: 12 }, () => readUpload(file, RULES).catch((error: AcmeError) => error.detail)),
  )
  t.equal(crowd.filter((detail) => /Too many PKCS#12 files/.test(String(detail))).length, 8)
})

t.test('deep and wide ASN.1 is refused at once', async (t) => {
  let deep = Buffer.from([0x30, 0x80])
  deep = Buffer.concat(Array.from({ length: 20_000 }, () => deep))
  const wide = Buffer.concat([
    Buffer.from([0x30, 0x83, 0x00, 0xf0, 0x00]),
    Buffer.alloc(61_440, Buffer.from([5, 0])),
  ])
  const nested = Array.from({ length: 200 }).reduce<string>((inner) => derOf(sequence(octets(inner))), '')
  for (const bytes of [deep, wide, Buffer.from(nested, 'binary')]) {
    await refuse(t, { pkcs12: bytes.toString('base64') }, /PKCS#12 file cannot be used/)
    const { key } = await mint({ names: ['www.shop.example'] }).then(({ keyPem }) => ({ key: keyPem }))
    const certificate = `-----BEGIN CERTIFICATE-----\n${bytes
      .subarray(0, 40_000)
      .toString('base64')
      .replace(/(.{64})/g, '$1\n')}\n-----END CERTIFICATE-----\n`
    await refuse(t, { certificate, key }, /Certificate 1 cannot be read/)
  }
})

t.test('huge texts, endless lines and a thousand blocks are refused at once', async (t) => {
  const { leaf } = await mintChain()
  const key = leaf.keyPem
  await refuse(t, { certificate: 'A'.repeat(1_000_000), key }, /longer than 65536 bytes/)
  await refuse(t, { certificate: '-----BEGIN CERTIFICATE-----'.repeat(2_400), key }, /no PEM/)
  await refuse(t, { certificate: '-----BEGIN A-----\n'.repeat(3_600), key }, /has no end/)
  await refuse(t, { certificate: '-----BEGIN A-----\n-----END A-----\n'.repeat(1_800), key }, /holds a A/)
  await refuse(
    t,
    { certificate: `-----BEGIN CERTIFICATE-----\n${'A'.repeat(60_000)}\n-----END CERTIFICATE-----`, key },
    /not base64/,
  )
  await refuse(t, { certificate: leaf.pem.repeat(60), key }, /60 certificates/)
  await refuse(t, { certificate: leaf.pem, key: 'K'.repeat(100_000) }, /"key" is longer/)
  await refuse(t, { pkcs12: 'A'.repeat(200_000) }, /"pkcs12" is longer/)
  await refuse(t, { pkcs12: '='.repeat(80_000) }, /not base64/)
})

t.test('names that are paths, addresses or control characters count for nothing', async (t) => {
  const names = [
    '../../etc/passwd',
    '..',
    'a/b.example',
    'www.shop.example\0.evil.example',
    '127.0.0.1:80',
    'x y.example',
    'www.shop.example',
    '-a.example',
  ]
  const leaf = await mint({ names, subject: 'CN=../../../etc' })
  const upload = { certificate: leaf.pem, key: leaf.keyPem }
  t.ok(await readUpload(upload, RULES))
  await t.rejects(readUpload(upload, { ...RULES, hostnames: ['other.example'] }), {
    message: /, only www\.shop\.example\.$/,
  })
  const nul = await mint({ names: ['www.shop.example\0.evil.example'] })
  await refuse(t, { certificate: nul.pem, key: nul.keyPem }, /no DNS name/)
})

t.test('a certificate with thousands of names is refused in no time', async (t) => {
  const names = Array.from({ length: 2_500 }, (_, at) => `${at}.shop.example`)
  const leaf = await mint({ names: [...names, 'www.shop.example'] })
  const before = process.cpuUsage()
  await refuse(t, { certificate: leaf.pem, key: leaf.keyPem }, /16384 is the most/)
  const tookMs = process.cpuUsage(before).user / 1_000
  t.ok(tookMs < 1_000, `${Math.round(tookMs)} ms of the processor`)
})

t.test('over HTTP: a body without end is cut off, and a name that is a path reaches nothing', async (t) => {
  const certificates = createFakeDesk()
  const { api, call } = await apiFor(t, { certificates })
  const socket = api.connect()
  socket.on('error', () => {})
  socket.write(
    `PUT /v1/certificates/example.test HTTP/1.1\r\nhost: admin.example.test\r\nauthorization: Bearer a-token-of-some-length-for-the-tests\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n`,
  )
  const chunk = `${(65_536).toString(16)}\r\n${'x'.repeat(65_536)}\r\n`
  for (let sent = 0; sent < 4; sent += 1) socket.write(chunk)
  const [answer] = await once(socket, 'data')
  t.match(String(answer), /^HTTP\/1\.1 413 /)
  socket.destroy()
  for (const path of [
    '/v1/certificates/..%2F..%2Fpool%2Fx',
    '/v1/certificates/../audit',
    '/v1/certificates/%2e%2e/renew',
  ]) {
    const { status = 0 } = await call('PUT', path, { body: { certificate: 'x', key: 'y' } })
    t.ok([404, 405, 422].includes(status), `${path}: ${status}`)
  }
  t.same(certificates.asked, [])
})
