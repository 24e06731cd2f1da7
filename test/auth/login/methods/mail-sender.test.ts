/** How the SMTP server is spoken to: with TLS off this machine, with a password, and ended with the edge. */

import t from 'tap'
import { createMailSender, toTransportOptions } from '../../../../auth/login/methods/mail-sender.ts'
import { toMailText } from '../../../../auth/login/methods/mail-text.ts'
import { createListLog } from '../../../helpers/list-log.ts'
import { mailSinkFor } from '../../../helpers/mail-sink.ts'
import { until } from '../../../helpers/until.ts'
import { FROM } from './mail-kit.ts'

const MAIL = { to: 'ada@example.test', subject: 'Log in', text: 'text', html: '<p>html</p>' }

t.test('links leave this machine by TLS alone', async (t) => {
  const cases = [
    ['smtps://mail.example.test', { secure: true, requireTLS: false }],
    ['smtp://mail.example.test', { secure: false, requireTLS: true }],
    ['smtp://192.0.2.1:25', { secure: false, requireTLS: true, port: 25 }],
    ['smtp://[2001:db8::1]:587', { secure: false, requireTLS: true, host: '2001:db8::1' }],
    ['smtp://localhost:25', { secure: false, requireTLS: false }],
    ['smtp://[::1]:25', { secure: false, requireTLS: false, host: '::1' }],
  ] as const
  for (const [url, expected] of cases) t.match(toTransportOptions({ url, from: FROM }), expected, url)
})

t.test('logs in with the name of the URL and the password of the file', async (t) => {
  const logins: unknown[] = []
  const sink = await mailSinkFor(t, {
    authOptional: false,
    allowInsecureAuth: true,
    onAuth: ({ username, password }, _session, done) => {
      logins.push([username, password])
      done(password === 'p@ss: wörd' ? null : new Error('no'), { user: 'ada' })
    },
  })
  const { lines, ...log } = createListLog()
  const url = sink.url.replace('smtp://', 'smtp://me%40example.test@')
  await using sender = createMailSender({ url, password: 'p@ss: wörd', from: FROM }, log)
  t.equal(await sender.send(MAIL), 'sent')
  t.same(logins, [['me@example.test', 'p@ss: wörd']])
  await using wrong = createMailSender({ url, password: 'another', from: FROM }, log)
  t.equal(await wrong.send(MAIL), 'failed')
  t.notMatch(JSON.stringify(lines), 'another', 'the password is not in the log')
})

t.test('ends what is under way when it is closed', async (t) => {
  let greeted = 0
  const sink = await mailSinkFor(t, {
    onConnect: () => {
      greeted += 1
    },
  })
  const { lines, ...log } = createListLog()
  const sender = createMailSender({ url: sink.url, from: FROM }, log)
  const outcome = sender.send(MAIL)
  await until(() => greeted > 0, 'the server is reached')
  const began = performance.now()
  await sender[Symbol.asyncDispose]()
  t.ok(performance.now() - began < 3_000, 'without waiting for its time limits')
  t.equal(await outcome, 'failed')
  t.equal(await sender.send(MAIL), 'failed', 'and takes no more')
  t.equal(lines.filter(({ level }) => level === 'error').length, 2)
})

t.test('an address with marks of a header is one address still', async (t) => {
  const sink = await mailSinkFor(t)
  const { lines: _, ...log } = createListLog()
  await using sender = createMailSender({ url: sink.url, from: FROM }, log)
  await sender.send({ ...MAIL, to: 'ada@example.test\r\nBcc: bob@example.test', subject: 'a\r\nX-Evil: 1' })
  const raw = sink.mails.map((mail) => mail.raw).join()
  t.notMatch(raw, /^(bcc|x-evil):/im)
  for (const { to } of sink.mails) t.notOk(to.includes('bob@example.test'))
})

t.test('names browsers and systems by words of its own', (t) => {
  const facts = { host: 'h', url: 'u', minutes: 10, clientAddress: '192.0.2.7', at: new Date(0) }
  for (const [userAgent, expected] of [
    [undefined, 'a browser'],
    ['curl/8.1 http://evil.example', 'a browser'],
    ['Mozilla/5.0 (Windows NT 10.0) Chrome/1 Safari/1 Edg/1', 'Edge on Windows'],
    ['Mozilla/5.0 (iPhone; CPU) Version/17 Safari/604.1', 'Safari on iOS'],
    ['Mozilla/5.0 (Macintosh) Gecko Firefox/1', 'Firefox on macOS'],
    ['Mozilla/5.0 (Linux; Android 14) Chrome/1', 'Chrome on Android'],
  ] as const) {
    t.match(toMailText({ ...facts, userAgent }).text, `by ${expected} at the address 192.0.2.7.`)
  }
  t.end()
})

t.test('says nothing of an address that is none', (t) => {
  const facts = { host: 'h', url: 'u', minutes: 10, at: new Date(0), userAgent: undefined }
  const clientAddress = 'unknown. Unlock your account at https://evil.example'
  for (const text of Object.values(toMailText({ ...facts, clientAddress }))) t.notMatch(text, 'evil')
  t.match(toMailText({ ...facts, clientAddress: '2001:db8::1' }).text, 'at the address 2001:db8::1.')
  t.end()
})
