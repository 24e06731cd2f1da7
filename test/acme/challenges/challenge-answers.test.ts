/** Answers to http-01 and tls-alpn-01: exact bytes, and of pending challenges alone. */

import { createHash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer } from 'node:tls'
import '../../../acme/x509.ts'
import { X509Certificate as ParsedCertificate } from '@peculiar/x509'
import t from 'tap'
import { createAlpnCertificate } from '../../../acme/challenges/alpn-certificate.ts'
import { ChallengeAnswers } from '../../../acme/challenges/challenge-answers.ts'
import type { ChallengeRow } from '../../../acme/rows.ts'
import { MemoryTable } from '../serving/memory-table.ts'

const HOUR_MS = 3_600_000

function challengeOf(changes: Partial<ChallengeRow>): ChallengeRow {
  const expiresAt = new Date(Date.now() + HOUR_MS).toISOString()
  return { id: 'c1', type: 'tls-alpn-01', name: 'shop.example', value: 'token.print', expiresAt, ...changes }
}

function answersFor(...challenges: readonly ChallengeRow[]) {
  const table = new MemoryTable()
  table.challenges.push(...challenges)
  return { table, answers: new ChallengeAnswers(table, Date.now) }
}

t.test('the certificate says what RFC 8737 section 3 asks for', (t) => {
  const long = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.example`
  for (const name of ['shop.example', long]) {
    const { certificateDer, key } = createAlpnCertificate({
      name,
      keyAuthorization: 'token.thumbprint',
      nowMs: Date.now(),
    })
    const certificate = new X509Certificate(certificateDer)
    t.equal(certificate.subjectAltName, `DNS:${name}`)
    t.ok(certificate.checkPrivateKey(key))
    t.ok(certificate.verify(certificate.publicKey), 'self-signed')
    t.ok(certificate.validFromDate.getTime() < Date.now() && Date.now() < certificate.validToDate.getTime())
    const parsed = new ParsedCertificate(certificateDer)
    const identifier = parsed.getExtension('1.3.6.1.5.5.7.1.31')
    const digest = createHash('sha256').update('token.thumbprint').digest('hex')
    t.equal(identifier?.critical, true)
    t.equal(Buffer.from(identifier?.value ?? new ArrayBuffer(0)).toString('hex'), `0420${digest}`)
    t.equal(parsed.extensions.length, 2)
  }
  t.end()
})

t.test('is shown to a client that asks for acme-tls/1', async (t) => {
  const { answers } = answersFor(challengeOf({}))
  const server = createServer({
    ALPNProtocols: ['acme-tls/1'],
    SNICallback: (name, done) => done(null, answers.findAlpn(name)),
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const socket = connect({
    ...{ host: '127.0.0.1', port, servername: 'shop.example' },
    ALPNProtocols: ['acme-tls/1'],
    rejectUnauthorized: false,
  })
  await once(socket, 'secureConnect')
  t.equal(socket.alpnProtocol, 'acme-tls/1')
  t.equal(socket.getPeerCertificate().subjectaltname, 'DNS:shop.example')
  socket.destroy()
})

t.test('is made once for each answer', (t) => {
  const { table, answers } = answersFor(challengeOf({}))
  const first = answers.findAlpn('shop.example')
  t.equal(answers.findAlpn('shop.example'), first)
  table.challenges[0] = challengeOf({ value: 'token.other' })
  t.not(answers.findAlpn('shop.example'), first)
  t.end()
})

t.test('there is none for a name that is not pending, nor after its time', (t) => {
  const past = new Date(Date.now() - 1_000).toISOString()
  const { answers } = answersFor(
    challengeOf({ name: 'old.example', expiresAt: past }),
    challengeOf({ type: 'http-01', name: 'web.example', token: 'tok' }),
  )
  for (const name of ['shop.example', 'old.example', 'web.example'])
    t.equal(answers.findAlpn(name), undefined)
  t.end()
})

t.test('http-01 is answered on the name that it is for, and while it is pending', (t) => {
  const past = new Date(Date.now() - 1_000).toISOString()
  const { answers } = answersFor(
    challengeOf({ type: 'http-01', token: 'tok', value: 'tok.print' }),
    challengeOf({ type: 'http-01', token: 'old', value: 'old.print', expiresAt: past }),
  )
  t.equal(answers.findHttp('shop.example', 'tok'), 'tok.print')
  t.equal(answers.findHttp('SHOP.example', 'tok'), 'tok.print')
  t.equal(answers.findHttp('other.example', 'tok'), undefined)
  t.equal(answers.findHttp('shop.example', 'old'), undefined)
  t.equal(answers.findHttp('shop.example', 'none'), undefined)
  t.end()
})
