/** The page of a development server where everybody can be everybody. */

import t from 'tap'
import { createPeopleLogin } from '../../../../auth/login/methods/people-login.ts'
import { HOST, LOGIN, LOGIN_HOST, loginKitFor, WEB } from '../login-kit.ts'

t.test('offers people by their canonical addresses, as the mail login would know them', async (t) => {
  const people = ['Ada@Example.test', 'j\u00f6rg@b\u00fccher.example', 'nobody', 'bob@xn--bcher-kva.example']
  const kit = await loginKitFor(t, { methods: [createPeopleLogin(people)] })
  const page = await kit.browser().visit(`${LOGIN}/`)
  const emails = [...page.body.matchAll(/name="email" value="([^"]+)"/g)].map(([, email = '']) => email)
  t.ok(emails.includes('ada@example.test'))
  t.notOk(emails.includes('nobody'))
  for (const email of emails) {
    const browser = kit.browser()
    const answer = await browser.submit(await browser.visit(`${LOGIN}/`), { email })
    t.match(answer, { status: 200, body: /You are / }, email)
  }
})

t.test('takes nobody who is not on the list, and nobody by a form of another place', async (t) => {
  const kit = await loginKitFor(t)
  const browser = kit.browser()
  const page = await browser.visit(`${WEB}/.landfall/login`)
  for (const email of ['eve@example.test', '', 'ADA@example.test']) {
    t.match(await browser.submit(page, { email }), { status: 410, body: /login_expired/ }, email)
  }
  const forged = await browser.submit(page, { email: 'ada@example.test', flow: 'x.y' })
  t.match(forged, { status: 410, body: /login_expired/ })
  t.equal(browser.cookie(LOGIN_HOST, '__Host-landfall-session'), undefined)
  t.equal(browser.cookie(HOST, '__Host-landfall'), undefined)
})
