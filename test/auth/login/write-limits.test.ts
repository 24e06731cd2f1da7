/** How much one visitor can have written to the store. */

import t from 'tap'
import { createWriteLimits } from '../../../auth/login/write-limits.ts'
import { ADA, grantTo, HOST, LOGIN, logInAs, loginKitFor, routeOf, signLink, WEB } from './login-kit.ts'

const ID = 'Abc123Def456'
const PER_MINUTE = 120

t.test('one login gets so many codes a minute, and then more', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA)] }))
  const browser = kit.browser()
  await logInAs(browser, ADA)
  const start = `${LOGIN}/start?host=${HOST}&challenge=${'a'.repeat(43)}`
  const statuses: number[] = []
  for (let count = 0; count < PER_MINUTE + 10; count += 1) statuses.push((await browser.ask(start)).status)
  t.equal(statuses.filter((status) => status === 303).length, PER_MINUTE - 1, 'the login itself took one')
  t.match(await browser.ask(start), { status: 429, body: /login_too_often/, headers: { 'retry-after': '1' } })
  const other = kit.browser()
  t.equal((await logInAs(other, ADA)).url.host, HOST, 'another login is not meant')
  kit.clock.ms += 1_000
  t.equal((await browser.ask(start)).status, 303)
})

t.test('one network uses so many links a minute', async (t) => {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo('link', ID)] }))
  const link = await signLink(kit, ID, { login: false })
  const use = async (address: string) => {
    const headers = { 'x-forwarded-for': address }
    const ask = { form: { link }, from: new URL(WEB), headers }
    return (await kit.browser().ask(`${WEB}/.landfall/share`, ask)).status
  }
  const statuses: number[] = []
  for (let count = 0; count < PER_MINUTE + 5; count += 1) statuses.push(await use(`2001:db8::${count}`))
  t.equal(statuses.filter((status) => status === 200).length, PER_MINUTE)
  t.equal(kit.links.uses.length, PER_MINUTE)
  t.equal(statuses.at(-1), 429)
  t.equal(await use('2001:db8:0:1::1'), 200)
})

t.test('a clock that goes back gives nothing, and takes nothing', async (t) => {
  const clock = { ms: 1_000_000 }
  const limits = createWriteLimits(() => clock.ms)
  for (let count = 0; count < PER_MINUTE; count += 1) limits.spendSession(ADA)
  clock.ms -= 500_000
  t.throws(() => limits.spendSession(ADA), { code: 'login_too_often' })
  clock.ms += 60_000
  t.doesNotThrow(() => limits.spendSession(ADA))
})
