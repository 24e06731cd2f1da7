/** The login by mail when mails cannot be sent, are slow, or are asked for too often. */

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { MailOutcome } from '../../../../auth/login/methods/mail-sender.ts'
import { findFreePort } from '../../../helpers/free-port.ts'
import { ADA, BOB, LOGIN } from '../login-kit.ts'
import { askFor, askPageOf, linkOf, mailKitFor } from './mail-kit.ts'

t.test('says so when the mail server is down, and the same form works when it is back', async (t) => {
  const outcomes: MailOutcome[] = ['failed', 'failed', 'failed', 'failed', 'failed', 'failed', 'sent']
  const kit = await mailKitFor(t, { sender: { send: async () => outcomes.shift() ?? 'sent' } })
  const browser = kit.browser()
  const page = await askPageOf(browser)
  for (let count = 0; count < 6; count += 1) {
    const answer = await browser.submit(page, { email: ADA })
    t.equal(answer.status, 502, 'and what was not sent does not count')
    t.match(answer.body, 'login_mail_unsent')
    t.match(answer.headers, { 'retry-after': /\d/ })
  }
  t.equal((await browser.submit(page, { email: ADA })).status, 200)
})

t.test('logs why no mail can be sent', async (t) => {
  const port = await findFreePort()
  const kit = await mailKitFor(t, { url: `smtp://127.0.0.1:${port}` })
  const answer = await askFor(kit.browser(), ADA)
  t.equal(answer.status, 502)
  t.notMatch(answer.body, String(port), 'which is nobody else’s business')
  t.match(
    kit.mailLines.find(({ level }) => level === 'error'),
    { to: ADA, err: { message: /ECONNREFUSED/ } },
  )
})

t.test('does not wait for a mail server that takes its time', async (t) => {
  const port = await mutePortFor(t)
  const kit = await mailKitFor(t, { url: `smtp://127.0.0.1:${port}`, answerMs: 200 })
  const began = performance.now()
  const answer = await askFor(kit.browser(), ADA)
  t.equal(answer.status, 200)
  t.ok(performance.now() - began < 5_000)
})

t.test('a mail that goes out late works', async (t) => {
  const kit = await mailKitFor(t, { answerMs: 0 })
  const browser = kit.browser()
  t.equal((await askFor(browser, ADA)).status, 200)
  const [mail] = await kit.sink.waitFor(1)
  t.equal((await browser.visit(linkOf(mail))).status, 200)
})

t.test('five mails an hour go to one address, whoever asks, and the answer stays the same', async (t) => {
  const kit = await mailKitFor(t)
  for (let count = 0; count < 7; count += 1) {
    const answer = await ask(kit, ADA, `192.0.2.${count}`)
    t.equal(answer.status, 200)
    t.match(answer.body, 'Look into your mail')
  }
  t.equal(kit.sink.mails.length, 5)
  t.match(
    kit.mailLines.filter(({ limit }) => limit === 'address'),
    [{ email: ADA }, { email: ADA }],
  )
  await ask(kit, BOB, '192.0.2.1')
  t.equal(kit.sink.mails.length, 6, 'others are not touched by it')
  kit.clock.ms += 3_600_001
  await ask(kit, ADA, '192.0.2.1')
  t.equal(kit.sink.mails.length, 7, 'an hour later it goes on')
})

t.test('twenty mails an hour may be asked for by one client, whatever the addresses', async (t) => {
  const kit = await mailKitFor(t)
  for (let count = 0; count < 20; count += 1) {
    t.equal((await ask(kit, `ada${count}@example.test`, `2001:db8::${count + 1}`)).status, 200)
  }
  const answer = await ask(kit, 'late@example.test', '2001:db8::ffff:1')
  t.equal(answer.status, 429)
  t.match(answer.body, 'login_busy')
  t.equal(kit.sink.mails.length, 20)
  t.equal(
    (await ask(kit, 'late@example.test', '2001:db8:0:1::1')).status,
    200,
    'the next network is another client',
  )
})

type Kit = Awaited<ReturnType<typeof mailKitFor>>

async function ask(kit: Kit, email: string, address: string) {
  const browser = kit.browser()
  const page = await askPageOf(browser)
  const [, flow = ''] = /name="flow" value="([^"]*)"/.exec(page.body) ?? []
  return browser.visit(`${LOGIN}/mail/send`, {
    form: { flow, email },
    from: page.url,
    headers: { 'x-forwarded-for': address },
  })
}

/** Takes connections and says nothing. */
async function mutePortFor(t: Test): Promise<number> {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    socket.on('error', () => {})
    sockets.push(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}
