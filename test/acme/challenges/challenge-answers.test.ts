/** Answers to http-01 and tls-alpn-01: exact bytes, and of the table's challenges alone. */

import { createHash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer } from 'node:tls'
import '../../../acme/x509.ts'
import { X509Certificate as ParsedCertificate } from '@peculiar/x509'
import t, { type Test } from 'tap'
import { createAlpnCertificate } from '../../../acme/challenges/alpn-certificate.ts'
import { ChallengeAnswers } from '../../../acme/challenges/challenge-answers.ts'
import type { ChallengeRow } from '../../../acme/rows.ts'
import { bedFor, caughtUp } from '../../helpers/certificate-bed.ts'
import { challengeOf } from '../../helpers/certificate-rows.ts'
import { putChallenges } from '../../helpers/challenge-writes.ts'

const ALPN = challengeOf('c1', { type: 'tls-alpn-01', name: 'shop.example' })

async function answersFor(t: Test, ...rows: readonly ChallengeRow[]) {
  const bed = await bedFor(t)
  const put = async (...more: readonly ChallengeRow[]) => {
    await putChallenges(bed.store, more)
    await caughtUp(bed)
  }
  await put(...rows)
  return { put, answers: new ChallengeAnswers(bed.table, Date.now) }
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
  const { answers } = await answersFor(t, ALPN)
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

t.test('is made once for each answer', async (t) => {
  const { put, answers } = await answersFor(t, ALPN)
  const first = answers.findAlpn('shop.example')
  t.ok(first)
  t.equal(answers.findAlpn('shop.example'), first)
  await put({ ...ALPN, value: 'token.other' })
  t.ok(answers.findAlpn('shop.example'))
  t.not(answers.findAlpn('shop.example'), first)
})

t.test('there is none for a name without a challenge, or with one of another type', async (t) => {
  const { answers } = await answersFor(t, challengeOf('web', { name: 'web.example' }))
  for (const name of ['shop.example', 'web.example']) t.equal(answers.findAlpn(name), undefined)
})

t.test('http-01 is answered on the name that it is for', async (t) => {
  const row = challengeOf('web', { name: 'shop.example', token: 'tok', value: 'tok.print' })
  const { answers } = await answersFor(t, row)
  t.equal(answers.findHttp('shop.example', 'tok'), 'tok.print')
  t.equal(answers.findHttp('SHOP.example', 'tok'), 'tok.print')
  t.equal(answers.findHttp('other.example', 'tok'), undefined)
  t.equal(answers.findHttp('shop.example', 'none'), undefined)
})
