/** The login by mail: the whole way, who else may not use the link, and what everybody is told. */

import t from 'tap'
import { mailSinkFor } from '../../../helpers/mail-sink.ts'
import { ADA, BOB, grantTo, HOST, LOGIN, LOGIN_HOST, routeOf, WEB } from '../login-kit.ts'
import { askFor, askPageOf, FROM, linkOf, mailKitFor } from './mail-kit.ts'

const COOKIE = '__Host-landfall'

t.test('logs in whoever opens the link in the browser that asked, and leads to the very path', async (t) => {
  const kit = await mailKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const browser = kit.browser()
  const told = await askFor(browser, ` ${ADA.toUpperCase()} `, '/notes?page=2')
  t.equal(told.status, 200)
  t.match(told.body, /Look into your mail/)
  const [mail] = await kit.sink.waitFor(1)
  const page = await browser.visit(linkOf(mail))
  t.equal(page.status, 200)
  t.match(page.body, ADA)
  const answer = await browser.submit(page)
  t.equal(answer.url.href, `${WEB}/notes?page=2`)
  const claims = await kit.keys.verify(browser.cookie(HOST, COOKIE) ?? '', { kind: 'cookie', audience: HOST })
  t.match(claims, { sub: ADA, email: ADA })
})

t.test('sends a mail that says where it leads, for how long, and who asked', async (t) => {
  const kit = await mailKitFor(t)
  const page = await askPageOf(kit.browser())
  const browser = kit.browser()
  const asked = await askPageOf(browser)
  const [, flow = ''] = /name="flow" value="([^"]*)"/.exec(asked.body) ?? []
  await browser.visit(`${LOGIN}/mail/send`, {
    form: { flow, email: ADA },
    from: page.url,
    headers: {
      'x-forwarded-for': '192.0.2.7',
      'user-agent': 'Mozilla/5.0 (X11; Linux x86_64) <b>Buy now</b> Chrome/140.0 Safari/537.36',
    },
  })
  const [mail] = await kit.sink.waitFor(1)
  t.equal(mail?.from, 'login@example.test')
  t.same(mail?.to, [ADA])
  t.match(mail?.headers, {
    from: FROM,
    to: ADA,
    subject: `Log in to ${HOST}`,
    'auto-submitted': 'auto-generated',
    'content-type': /^multipart\/alternative/,
  })
  for (const type of ['text/plain', 'text/html']) {
    const text = mail?.parts[type] ?? ''
    t.match(text, `${LOGIN}/mail?token=`)
    t.match(text, HOST)
    t.match(text, '10 minutes')
    t.match(text, '192.0.2.7')
    t.match(text, 'Chrome on Linux')
    t.notMatch(text, 'Buy now', 'whoever asks writes nothing into the mail')
  }
})

t.test('a look at the link takes nothing: scanners may open it as often as they like', async (t) => {
  const kit = await mailKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const browser = kit.browser()
  await askFor(browser, ADA)
  const [mail] = await kit.sink.waitFor(1)
  const scanner = kit.browser()
  for (let count = 0; count < 3; count += 1) {
    t.equal((await scanner.visit(linkOf(mail))).status, 400)
    t.equal((await scanner.visit(linkOf(mail), { method: 'HEAD' })).status, 405)
    t.equal((await browser.visit(linkOf(mail))).status, 200)
  }
  t.equal((await browser.submit(await browser.visit(linkOf(mail)))).url.href, `${WEB}/`)
})

t.test('works once', async (t) => {
  const kit = await mailKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const browser = kit.browser()
  await askFor(browser, ADA)
  const [mail] = await kit.sink.waitFor(1)
  const page = await browser.visit(linkOf(mail))
  await browser.submit(page)
  const again = await browser.submit(page)
  t.equal(again.status, 410)
  t.match(again.body, 'login_expired')
  t.equal((await browser.visit(linkOf(mail))).status, 410)
})

t.test('two buttons pressed at once let in one', async (t) => {
  const kit = await mailKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const browser = kit.browser()
  await askFor(browser, ADA)
  const [mail] = await kit.sink.waitFor(1)
  const page = await browser.visit(linkOf(mail))
  const answers = await Promise.all([browser.submit(page), browser.submit(page)])
  t.same(answers.map(({ url, status }) => (url.href === `${WEB}/` ? 'in' : status)).sort(), [410, 'in'])
})

t.test('another browser is refused and does not use up the link', async (t) => {
  const kit = await mailKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const [browser, thief] = [kit.browser(), kit.browser()]
  await askFor(browser, ADA)
  await askPageOf(thief)
  const [mail] = await kit.sink.waitFor(1)
  const page = await browser.visit(linkOf(mail))
  const shown = await thief.visit(linkOf(mail))
  t.equal(shown.status, 400)
  t.match(shown.body, 'login_cookies_missing')
  t.notMatch(shown.body, ADA, 'nor is it told whose it is')
  const token = new URL(linkOf(mail)).searchParams.get('token') ?? ''
  const taken = await thief.visit(`${LOGIN}/mail/enter`, { form: { token }, from: page.url })
  t.equal(taken.status, 400)
  t.equal(thief.cookie(LOGIN_HOST, '__Host-landfall-session'), undefined)
  t.match(
    kit.mailLines.find(({ message }) => message.includes('opened elsewhere')),
    { level: 'warn', email: ADA },
  )
  t.equal((await browser.submit(page)).url.href, `${WEB}/`)
})

t.test('is over after ten minutes, not before', async (t) => {
  const kit = await mailKitFor(t)
  const browser = kit.browser()
  await askFor(browser, ADA)
  const [mail] = await kit.sink.waitFor(1)
  kit.clock.ms += 599_000
  const page = await browser.visit(linkOf(mail))
  t.equal(page.status, 200)
  kit.clock.ms += 2_000
  t.equal((await browser.visit(linkOf(mail))).status, 410)
  t.equal((await browser.submit(page)).status, 410)
})

t.test('a link that nobody was sent is over, too', async (t) => {
  const kit = await mailKitFor(t)
  const browser = kit.browser()
  await askPageOf(browser)
  for (const query of ['', '?token=', `?token=${'a'.repeat(43)}`, '?token=a&token=b', '?token[]=x']) {
    t.equal((await browser.visit(`${LOGIN}/mail${query}`)).status, 410, query)
  }
})

t.test('a form from another site changes nothing', async (t) => {
  const kit = await mailKitFor(t)
  const browser = kit.browser()
  const page = await askPageOf(browser)
  const [, flow = ''] = /name="flow" value="([^"]*)"/.exec(page.body) ?? []
  const from = new URL('https://evil.example.test/')
  const sent = await browser.visit(`${LOGIN}/mail/send`, { form: { flow, email: ADA }, from })
  t.equal(sent.status, 403)
  t.equal(kit.sink.mails.length, 0)
  await browser.submit(page, { email: ADA })
  const [mail] = await kit.sink.waitFor(1)
  const token = new URL(linkOf(mail)).searchParams.get('token') ?? ''
  t.equal((await browser.visit(`${LOGIN}/mail/enter`, { form: { token }, from })).status, 403)
  t.equal((await browser.visit(linkOf(mail))).status, 200, 'the link is still good')
})

t.test('a form without the cookie, or with a flow that was not sealed here, sends nothing', async (t) => {
  const kit = await mailKitFor(t)
  const page = await askPageOf(kit.browser())
  const stranger = await kit.browser().submit(page, { email: ADA })
  t.equal(stranger.status, 400)
  t.match(stranger.body, 'login_cookies_missing')
  const browser = kit.browser()
  const own = await askPageOf(browser)
  for (const flow of ['', 'x.y', 'a'.repeat(500)]) {
    t.equal((await browser.submit(own, { email: ADA, flow })).status, 410, flow)
  }
  t.equal(kit.sink.mails.length, 0)
})

t.test('several tabs and mails of one browser do not get in each other’s way', async (t) => {
  const kit = await mailKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const browser = kit.browser()
  const first = await askPageOf(browser, '/first')
  await browser.submit(await askPageOf(browser, '/second'), { email: ADA })
  await askPageOf(browser, '/third')
  await browser.submit(first, { email: ADA })
  const [ofSecond, ofFirst] = await kit.sink.waitFor(2)
  const pages = [await browser.visit(linkOf(ofFirst)), await browser.visit(linkOf(ofSecond))]
  const ends = []
  for (const page of pages) ends.push((await browser.submit(page)).url.pathname)
  t.same(ends, ['/first', '/second'])
})

t.test('what is no address is asked for again, with what was typed', async (t) => {
  const kit = await mailKitFor(t)
  const browser = kit.browser()
  const page = await askPageOf(browser)
  for (const email of [
    'ada',
    'ada@',
    '@example.test',
    'ada@localhost',
    'ada@192.0.2.1',
    'ada@exa mple.test',
    'ada@example.test, bob@example.test',
    'ada@example.test\r\nBcc: bob@example.test',
    '"><script>alert(1)</script>@example.test',
    '<ada@example.test>',
    `${'a'.repeat(65)}@example.test`,
  ]) {
    const answer = await browser.submit(page, { email })
    t.equal(answer.status, 400, email)
    t.notMatch(answer.body, '<script>')
    t.match(answer.body, 'not an e-mail address')
  }
  t.equal(kit.sink.mails.length, 0)
  t.match((await browser.submit(page, { email: 'a&b' })).body, 'value="a&amp;b"')
})

t.test('takes international addresses', async (t) => {
  const kit = await mailKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', 'jörg@xn--bcher-kva.example.test')] }))
  const browser = kit.browser()
  await askFor(browser, 'Jörg@Bücher.example.test')
  const [mail] = await kit.sink.waitFor(1)
  t.match(mail?.to[0], /^jörg@(bücher|xn--bcher-kva)\.example\.test$/)
  const answer = await browser.submit(await browser.visit(linkOf(mail)))
  t.equal(answer.url.href, `${WEB}/`)
  const claims = await kit.keys.verify(browser.cookie(HOST, COOKIE) ?? '', { kind: 'cookie', audience: HOST })
  t.match(claims, { sub: 'j%C3%B6rg@xn--bcher-kva.example.test', email: 'jörg@xn--bcher-kva.example.test' })
})

t.test('says the same whether a mail server takes the address or not', async (t) => {
  const sink = await mailSinkFor(t, {
    onRcptTo: ({ address }, _session, done) =>
      done(address === BOB ? Object.assign(new Error('no such user'), { responseCode: 550 }) : null),
  })
  const kit = await mailKitFor(t, { sink })
  const texts = []
  for (const email of [ADA, BOB]) {
    const { status, body } = await askFor(kit.browser(), email)
    texts.push(`${status} ${body.replaceAll(email, 'them').replace(/name="flow" value="[^"]*"/, '')}`)
  }
  t.equal(texts[0], texts[1])
  t.match(
    kit.mailLines.find(({ to }) => to === BOB),
    { level: 'warn', message: /does not take this address/ },
  )
})
