/** Chromium through the login by mail, with a real SMTP server that takes the mail. */

import t, { type Test } from 'tap'
import { browserFor } from '../helpers/browser.ts'
import { type Landfall, landfallFor } from '../helpers/landfall.ts'
import { type Mail, type MailSink, mailSinkFor } from '../helpers/mail-sink.ts'
import { fieldsSeenBy, makePrivate, ownCookies, profileFor, share, urlOf } from '../helpers/shared-vm.ts'
import { until } from '../helpers/until.ts'

const ADA = 'jörg@bücher.example.test'
const CANONICAL = 'jörg@xn--bcher-kva.example.test'
const LINK = /https:\/\/auth\.localhost:\d+\/mail\?token=[\w-]{43}/

async function landfallWithMail(t: Test, sink: MailSink): Promise<Landfall> {
  const env = { LANDFALL_SMTP_URL: sink.url, LANDFALL_MAIL_FROM: 'Landfall <login@example.test>' }
  const landfall = await landfallFor(t, { env })
  await makePrivate(landfall)
  return landfall
}

function linkIn(mail: Mail | undefined): string {
  return LINK.exec(mail?.parts['text/plain'] ?? '')?.[0] ?? 'no link'
}

t.test('a link from a mail logs in the browser that asked, once, and no other', async (t) => {
  const sink = await mailSinkFor(t)
  const landfall = await landfallWithMail(t, sink)
  await share(landfall, { kind: 'email', value: ADA })
  const browser = await browserFor(t, landfall)
  const { context, page } = await profileFor(browser)
  const hello = urlOf(landfall, 'hello')

  await page.goto(`${hello}/notes?page=2`)
  await page.getByRole('heading', { name: 'Log in by mail' }).waitFor()
  await page.getByLabel('Your e-mail address').fill('no address')
  await page.getByRole('button', { name: 'Send the link' }).click()
  await page.locator('main', { hasText: 'That is not an e-mail address' }).waitFor()
  await page.getByLabel('Your e-mail address').fill(ADA)
  await page.getByRole('button', { name: 'Send the link' }).click()
  await page.getByRole('heading', { name: 'Look into your mail' }).waitFor()
  const [mail] = await sink.waitFor(1)
  const link = linkIn(mail)
  t.match(
    mail?.parts['text/plain'],
    /hello\.localhost[\s\S]+10 minutes[\s\S]+Chrome on Linux at the address 127\.0\.0\.1/,
  )

  const thief = await profileFor(browser)
  await thief.page.goto(link)
  await thief.page.locator('main', { hasText: 'login_cookies_missing' }).waitFor()

  const second = await context.newPage()
  await second.goto(link)
  t.match(await second.textContent('main'), CANONICAL)
  t.notOk(
    (await ownCookies(context)).some(({ name }) => name === '__Host-landfall'),
    'a look lets nobody in',
  )
  await second.getByRole('button', { name: 'Log in' }).click()
  await second.waitForURL(`${hello}/**`)
  t.equal(second.url(), `${hello}/notes?page=2`)
  t.match(await fieldsSeenBy(second), {
    'x-landfall-user': 'j%C3%B6rg@xn--bcher-kva.example.test',
    'x-landfall-email': /^j.+rg@xn--bcher-kva\.example\.test$/,
  })

  await page.goto(link)
  await page.locator('main', { hasText: 'login_expired' }).waitFor()
  t.notMatch(landfall.stderr(), new URL(link).searchParams.get('token') ?? 'none', 'no log holds the link')
})

t.test('says that no mail can be sent, and sends the next one', async (t) => {
  let isDown = true
  const sink = await mailSinkFor(t, {
    onMailFrom: (_address, _session, done) =>
      done(isDown ? Object.assign(new Error('out of order'), { responseCode: 451 }) : null),
  })
  const landfall = await landfallWithMail(t, sink)
  const { page } = await profileFor(await browserFor(t, landfall))
  await page.goto(urlOf(landfall, 'auth'))
  await page.getByLabel('Your e-mail address').fill('ada@example.test')
  await page.getByRole('button', { name: 'Send the link' }).click()
  await page.locator('main', { hasText: 'login_mail_unsent' }).waitFor()
  await until(() => landfall.stderr().includes('a login mail was not sent'), 'the log says so')
  isDown = false
  await page.goBack()
  await page.getByLabel('Your e-mail address').fill('ada@example.test')
  await page.getByRole('button', { name: 'Send the link' }).click()
  await page.getByRole('heading', { name: 'Look into your mail' }).waitFor()
  const [mail] = await sink.waitFor(1)
  await page.goto(linkIn(mail))
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('heading', { name: 'You are ada@example.test' }).waitFor()
  t.equal(page.url(), `${urlOf(landfall, 'auth')}/`)
})
