/** Staples against openssl's responder and hostile ones: what is kept, what is refused, and what is never asked. */

import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect, createServer as createTlsServer } from 'node:tls'
import t, { type Test } from 'tap'
import type { KnownCertificate } from '../../../acme/books.ts'
import { readCertificate } from '../../../acme/certificate-parts.ts'
import { fetchOcsp } from '../../../acme/ocsp/ocsp-fetch.ts'
import { type OcspSubject, readOcspResponse } from '../../../acme/ocsp/ocsp-message.ts'
import { isPublicAddress } from '../../../acme/ocsp/public-address.ts'
import { type OcspStaples, type StaplesSettings, startStaples } from '../../../acme/ocsp/staples.ts'
import type { CertificateRow } from '../../../acme/rows.ts'
import { bedFor, putRows } from '../../helpers/certificate-bed.ts'
import { createListLog, type Line } from '../../helpers/list-log.ts'
import { mintRow } from '../../helpers/minted-rows.ts'
import { until } from '../../helpers/until.ts'
import { type OcspScene, ocspSceneFor } from './openssl-ocsp.ts'

const HOUR_MS = 3_600_000
/** Everything is at this machine. */
const resolver = { resolve4: async () => ['127.0.0.1'], resolve6: async () => [] }

async function staplesFor(t: Test, settings: StaplesSettings = {}) {
  const bed = await bedFor(t)
  const put = async (row: CertificateRow): Promise<KnownCertificate> => {
    await putRows(bed, [row])
    const known = bed.table.get(row.name, row.keyType)
    if (known === undefined) throw new Error('the table has no such certificate')
    return known
  }
  const certificate = await put(await mintRow('shop.example'))
  const revoked: string[] = []
  const log = createListLog()
  const errors = () => log.lines.filter(({ level }) => level === 'warn' || level === 'error').map(reasonOf)
  const onRevoked = (name: string, keyType: string) => revoked.push(`${name}/${keyType}`)
  const staples = startStaples(
    { table: bed.table, log, onRevoked, resolver },
    { isAllowed: () => true, timeoutMs: 2_000, ...settings },
  )
  t.teardown(() => staples[Symbol.asyncDispose]())
  return { put, certificate, revoked, errors, staples }
}

function reasonOf({ err, message }: Line): string {
  return err instanceof Error ? err.message : message
}

interface Kept {
  readonly staples: OcspStaples
  readonly certificate: KnownCertificate
}

async function fetchStaple(
  { staples, certificate }: Kept,
  chain: readonly [Buffer, Buffer],
): Promise<Buffer> {
  staples.notice(certificate, chain)
  await until(() => staples.find(chain[0]) !== undefined, 'there is a staple')
  return staples.find(chain[0]) ?? Buffer.alloc(0)
}

t.test('keeps the answer of a delegated responder', async (t) => {
  const scene = await ocspSceneFor(t)
  await scene.startResponder()
  const kept = await staplesFor(t)
  t.equal(kept.staples.find(scene.chain[0]), undefined)
  const staple = await fetchStaple(kept, scene.chain)
  t.same(kept.errors(), [])
  t.equal(kept.staples.find(scene.chain[1]), undefined, 'of another certificate there is none')
  t.ok(staple.length > 100)
})

t.test('keeps the answer that the issuer itself has signed', async (t) => {
  const scene = await ocspSceneFor(t)
  await scene.startResponder('ca')
  const staple = await fetchStaple(await staplesFor(t), scene.chain)
  t.throws(() => readOcspResponse(staple, toSubject(scene), Date.now() - HOUR_MS), /not valid yet/)
})

t.test('refuses an answer of somebody who may not sign it', async (t) => {
  const scene = await ocspSceneFor(t)
  await scene.startResponder('plain')
  const { staples, certificate, errors } = await staplesFor(t)
  staples.notice(certificate, scene.chain)
  await until(() => errors().length > 0, 'it is refused')
  t.same(errors(), ['the answer is signed by somebody else'])
  t.equal(staples.find(scene.chain[0]), undefined)
})

t.test('a revoked certificate is reported, and its staple forgotten', async (t) => {
  const scene = await ocspSceneFor(t)
  let nowMs = Date.now()
  await scene.startResponder()
  const kept = await staplesFor(t, { now: () => nowMs, retryMs: 1_000 })
  await fetchStaple(kept, scene.chain)
  await scene.stopResponder()
  await scene.revoke()
  await scene.startResponder()
  nowMs += 31 * 60_000
  // Of the same edge: any certificate that is noticed rings for what is due.
  kept.staples.askDue()
  await until(() => kept.revoked.length > 0, 'it is reported')
  t.same(kept.revoked, ['shop.example/ec'])
  t.equal(kept.staples.find(scene.chain[0]), undefined)
})

t.test('a revoked certificate is reported again until it is replaced', async (t) => {
  const scene = await ocspSceneFor(t)
  let nowMs = Date.now()
  await scene.revoke()
  await scene.startResponder()
  const { staples, certificate, revoked } = await staplesFor(t, { now: () => nowMs, retryMs: 1_000 })
  staples.notice(certificate, scene.chain)
  await until(() => revoked.length > 0, 'it is reported')
  nowMs += 1_000
  staples.askDue()
  await until(() => revoked.length > 1, 'it is reported again')
})

t.test('an answer is not given after its time, nor asked for anew before half of it', async (t) => {
  const scene = await ocspSceneFor(t)
  let nowMs = Date.now()
  await scene.startResponder()
  const kept = await staplesFor(t, { now: () => nowMs })
  await fetchStaple(kept, scene.chain)
  await scene.stopResponder()
  nowMs += 25 * 60_000
  kept.staples.askDue()
  nowMs += 10 * 60_000
  t.ok(kept.staples.find(scene.chain[0]))
  t.same(kept.errors(), [])
  kept.staples.askDue()
  await until(() => kept.errors().length > 0, 'it is asked again')
  t.ok(kept.staples.find(scene.chain[0]), 'it is still good while the responder is away')
  nowMs += 30 * 60_000
  t.equal(kept.staples.find(scene.chain[0]), undefined)
})

t.test('answers that are altered are refused, whichever byte it is', async (t) => {
  const scene = await ocspSceneFor(t)
  await scene.startResponder()
  const kept = await staplesFor(t)
  const staple = await fetchStaple(kept, scene.chain)
  const subject = toSubject(scene)
  t.equal(readOcspResponse(staple, subject, Date.now()).status, 'good')
  t.throws(() => readOcspResponse(staple, subject, Date.now() + 2 * HOUR_MS), /run out/)
  const other = { leaf: subject.issuer, issuer: subject.issuer }
  t.throws(() => readOcspResponse(staple, other, Date.now()), /about another certificate/)
  const accepted: number[] = []
  for (let index = 0; index < staple.length; index += 1) {
    const altered = Buffer.from(staple)
    altered.writeUInt8(altered.readUInt8(index) ^ 0x01, index)
    if (!isRefused(() => readOcspResponse(altered, subject, Date.now()))) accepted.push(index)
    if (!isRefused(() => readOcspResponse(staple.subarray(0, index), subject, Date.now())))
      accepted.push(index)
  }
  t.same(accepted, [])
})

function toSubject({ chain: [leaf, issuer] }: Pick<OcspScene, 'chain'>): OcspSubject {
  return { leaf: readCertificate(leaf), issuer: readCertificate(issuer) }
}

function isRefused(read: () => unknown): boolean {
  try {
    read()
    return false
  } catch {
    return true
  }
}

async function hostileFor(t: Test, listener: RequestListener) {
  const scene = await ocspSceneFor(t)
  const server = createServer(listener).listen(scene.port, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return scene
}

const HOSTILE: readonly [string, RegExp, RequestListener][] = [
  ['answers without end', /too large/, (_, answer) => pour(answer)],
  ['says nothing', /cannot be asked/, () => {}],
  [
    'redirects',
    /status 302/,
    (_, answer) => answer.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
  ],
  ['has no answer', /status 500/, (_, answer) => answer.writeHead(500).end()],
  ['answers nonsense', /./, (_, answer) => answer.end('<html>')],
  ['answers nothing', /./, (_, answer) => answer.end()],
  ['says try later', /status 3/, (_, answer) => answer.end(Buffer.from('30030a0103', 'hex'))],
]

function pour(answer: Parameters<RequestListener>[1]): void {
  answer.on('drain', () => pour(answer))
  if (!answer.destroyed && answer.write(Buffer.alloc(16_384))) setImmediate(() => pour(answer))
}

for (const [what, expected, listener] of HOSTILE) {
  t.test(`is not harmed by a responder that ${what}`, async (t) => {
    const scene = await hostileFor(t, listener)
    const { staples, certificate, errors } = await staplesFor(t, { timeoutMs: 1_500 })
    staples.notice(certificate, scene.chain)
    await until(() => errors().length > 0, 'it is noted')
    t.match(errors()[0], expected)
    t.equal(errors().length, 1, 'and not asked again at once')
    t.equal(staples.find(scene.chain[0]), undefined)
  })
}

t.test('asks no private address, whether it is named or looked up', async (t) => {
  let asked = 0
  const scene = await hostileFor(t, (_, answer) => {
    asked += 1
    answer.end()
  })
  const { staples, certificate, errors } = await staplesFor(t, { isAllowed: isPublicAddress })
  staples.notice(certificate, scene.chain)
  await until(() => errors().length > 0, 'it is refused')
  t.equal(errors()[0], 'the responder is not at port 80 of a public address')
  const { signal } = new AbortController()
  for (const host of ['localhost', '127.1', '0x7f000001', '[::1]', '[::ffff:127.0.0.1]']) {
    const demand = { url: `http://${host}:${scene.port}/`, body: Buffer.alloc(1), signal }
    const settings = { timeoutMs: 2_000, resolver, isAllowed: isPublicAddress }
    await t.rejects(fetchOcsp(demand, settings), { message: /port 80 of a public/ }, host)
  }
  t.equal(asked, 0)
})

t.test('uploads whose responders hang leave room for what was ordered', async (t) => {
  let asked = 0
  const scene = await hostileFor(t, () => {
    asked += 1
  })
  const { put, staples, certificate } = await staplesFor(t, { timeoutMs: 10_000 })
  for (let count = 0; count < 6; count += 1) {
    const row = await mintRow(`up${count}.example`, { source: 'upload' })
    // Each is another certificate that names the same responder.
    const leaf = Buffer.from(scene.chain[0])
    leaf.writeUInt8(count, leaf.length - 1)
    staples.notice(await put(row), [leaf, scene.chain[1]])
  }
  staples.notice(certificate, scene.chain)
  await until(() => asked >= 3, 'the ordered one is asked about')
  t.equal(asked, 3, 'and two uploads')
})

t.test('asks nobody for a certificate that names no responder', async (t) => {
  const { staples, certificate, errors } = await staplesFor(t)
  const row = await mintRow('shop.example')
  const chain = row.chain.map((text) => Buffer.from(text, 'base64'))
  staples.notice(certificate, chain)
  t.equal(staples.size, 0)
  t.same(errors(), [])
})

t.test('forgets a certificate that was replaced', async (t) => {
  const scene = await ocspSceneFor(t)
  await scene.startResponder()
  const kept = await staplesFor(t)
  await fetchStaple(kept, scene.chain)
  await kept.put(await mintRow('shop.example'))
  kept.staples.askDue()
  t.equal(kept.staples.size, 0)
})

t.test('a client is shown the staple in its handshake', async (t) => {
  const scene = await ocspSceneFor(t)
  await scene.startResponder()
  const kept = await staplesFor(t)
  const staple = await fetchStaple(kept, scene.chain)
  const { certPem, keyPem } = await scene.pem()
  const server = createTlsServer({ cert: certPem, key: keyPem })
  server.on('OCSPRequest', (der: Buffer, _: unknown, done: (error: null, staple?: Buffer) => void) =>
    done(null, kept.staples.find(der)),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const socket = connect({ host: '127.0.0.1', port, requestOCSP: true, rejectUnauthorized: false })
  const [shown] = await once(socket, 'OCSPResponse')
  t.same(shown, staple)
  socket.destroy()
})
