/** Whom a host's own pages take its visitor for: as the gate does, with all that a token needs. */

import { hash } from 'node:crypto'
import t, { type Test } from 'tap'
import { holder, proofOf } from '../tokens/proof-maker.ts'
import type { Answer } from './browser.ts'
import {
  ADA,
  BOB,
  grantTo,
  HOST,
  type LoginKit,
  logInAs,
  loginKitFor,
  routeOf,
  signLink,
  WEB,
} from './login-kit.ts'

const ID = 'Abc123Def456'
const COOKIE = '__Host-landfall'

async function kitWith(t: Test, kind: string, value: string): Promise<LoginKit> {
  const kit = await loginKitFor(t)
  kit.routes.set(HOST, routeOf({ grants: [grantTo(kind, value)] }))
  return kit
}

function signToken({ keys, clock }: LoginKit, claims: Record<string, unknown> = {}): Promise<string> {
  const expiresAt = Math.floor(clock.ms / 1_000) + 3_600
  return keys.sign({ kind: 'token', audience: HOST, subject: `token:${ID}`, id: ID, expiresAt, claims })
}

function whoami(kit: LoginKit, headers: Record<string, string>, host = HOST): Promise<Answer> {
  return kit.browser().ask(`https://${host}/.landfall/whoami`, { headers: { accept: '*/*', ...headers } })
}

t.test('a token counts while its grant is there', async (t) => {
  const kit = await kitWith(t, 'token', ID)
  const headers = { 'x-landfall-authorization': `Bearer ${await signToken(kit)}` }
  const good = await whoami(kit, headers)
  t.match(JSON.parse(good.body), { kind: 'token', id: ID, role: 'viewer' })
  kit.routes.set(HOST, routeOf())
  const dead = await whoami(kit, headers)
  t.equal(dead.status, 401)
  t.match(JSON.parse(dead.body), { code: 'auth_invalid' })
  t.notMatch(dead.body, ID)
})

t.test('a token counts at the ports that it names, and at no other', async (t) => {
  const kit = await kitWith(t, 'token', ID)
  const port = '9000--web.example.test'
  const grants = [grantTo('token', ID)]
  kit.routes.set(port, routeOf({ hostname: port, port: 9000, grants }))
  const headers = { 'x-landfall-authorization': `Bearer ${await signToken(kit, { ports: [9000] })}` }
  t.equal((await whoami(kit, headers, port)).status, 200)
  t.equal((await whoami(kit, headers)).status, 403)
})

t.test('a bound token needs a proof that is for this request and was not used yet', async (t) => {
  const kit = await kitWith(t, 'token', ID)
  const token = await signToken(kit, { cnf: { jkt: holder.thumbprint } })
  const prove = (path: string) => {
    const iat = Math.floor(kit.clock.ms / 1_000)
    return proofOf({ claims: { htu: `${WEB}${path}`, iat, ath: hash('sha256', token, 'base64url') } })
  }
  const ask = async (dpop?: string, scheme = 'DPoP') => {
    const headers = { 'x-landfall-authorization': `${scheme} ${token}`, ...(dpop !== undefined && { dpop }) }
    return (await whoami(kit, headers)).status
  }
  t.equal(await ask(), 401)
  t.equal(await ask('x.y.z'), 401)
  t.equal(await ask(await prove('/')), 401, 'for another page')
  const proof = await prove('/.landfall/whoami')
  t.equal(await ask(proof), 200)
  t.equal(await ask(proof), 401, 'a second time')
  t.equal(await ask(await prove('/.landfall/whoami'), 'Bearer'), 401)
})

t.test('a cookie of a link counts while the link has its grant', async (t) => {
  const kit = await kitWith(t, 'link', ID)
  const browser = kit.browser()
  const link = await signLink(kit, ID, { login: false })
  await browser.submit(await browser.visit(`${WEB}/.landfall/share?link=${link}`))
  const cookie = `${COOKIE}=${browser.cookie(HOST, COOKIE)}`
  t.match(JSON.parse((await whoami(kit, { cookie })).body), { kind: 'link', id: ID })
  kit.routes.set(HOST, routeOf())
  t.same(JSON.parse((await whoami(kit, { cookie })).body), { host: HOST })
})

t.test('a visitor is not known at another VM that has the name now', async (t) => {
  const kit = await kitWith(t, 'email', ADA)
  const browser = kit.browser()
  await logInAs(browser, ADA)
  const cookie = `${COOKIE}=${browser.cookie(HOST, COOKIE)}`
  const isKnown = async () => 'user' in JSON.parse((await whoami(kit, { cookie })).body)
  t.equal(await isKnown(), true)
  for (const other of [{ pool: 'mallory' }, { vm: 'other' }]) {
    const grants = [grantTo('email', ADA), grantTo('link', ID)]
    kit.routes.set(HOST, routeOf({ visibility: 'public', grants, ...other }))
    t.equal(await isKnown(), false, JSON.stringify(other))
    const link = await signLink(kit, ID, { login: false, vm: 'vm' in other ? other.vm : 'web' })
    const page = await browser.visit(`${WEB}/.landfall/share?link=${link}`)
    t.match(page.body, /Open it/, 'and is not taken for let in already')
  }
  kit.routes.set(HOST, routeOf({ grants: [grantTo('email', ADA), grantTo('email', BOB)] }))
  t.equal(await isKnown(), true, 'the row may change otherwise')
})

t.test('a log-out ends the cookie of a VM that is gone as well', async (t) => {
  const kit = await kitWith(t, 'email', ADA)
  const browser = kit.browser()
  await logInAs(browser, ADA)
  const headers = { cookie: `${COOKIE}=${browser.cookie(HOST, COOKIE)}` }
  const row = kit.routes.get(HOST) ?? routeOf()
  kit.routes.set(HOST, routeOf({ pool: 'mallory' }))
  await browser.ask(`${WEB}/.landfall/logout`, { form: {}, from: new URL(WEB) })
  kit.routes.set(HOST, row)
  const end = Date.now() + 5_000
  while ('user' in JSON.parse((await whoami(kit, headers)).body)) {
    if (Date.now() > end) throw new Error('the cookie still counts')
  }
  t.pass('nobody can use a copy of it')
})
