/** The example of docs/apps.md: it knows its callers by what the edge signed, and nobody else by anything. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { TYPES } from '../../auth/signing/signing.ts'
import { createClock, demandOf, edgeFor as signingEdgeFor, storeFor } from '../auth/signing/edges.ts'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { findFreePort } from '../helpers/free-port.ts'
import { originFor } from '../helpers/origin.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { putTestRoute } from '../helpers/route.ts'
import { until } from '../helpers/until.ts'

const APP = fileURLToPath(new URL('../../docs/apps/who-calls.mjs', import.meta.url))
const DOC = fileURLToPath(new URL('../../docs/apps.md', import.meta.url))
const NAMES = fileURLToPath(new URL('../helpers/resolve-localhost.ts', import.meta.url))
const STRANGER = 'You are a stranger.\n'
const UNCHECKED = 'That cannot be checked.\n'

interface App {
  readonly port: number
  /** What it answers to a request of this assertion that did not come through an edge. */
  ask(assertion?: string): Promise<string>
}

/** Ended with the test. */
async function appFor(t: Test, origin: string, caFile?: string): Promise<App> {
  const port = await findFreePort()
  const env = { ...process.env, ...(caFile !== undefined && { NODE_EXTRA_CA_CERTS: caFile }) }
  const child = spawn(process.execPath, ['--import', NAMES, APP, origin, `${port}`], {
    env,
    stdio: 'inherit',
  })
  t.teardown(async () => {
    child.kill()
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  const ask = async (assertion?: string) => {
    const headers = assertion === undefined ? {} : { 'x-landfall-assertion': assertion }
    return (await fetch(`http://127.0.0.1:${port}/`, { headers })).text()
  }
  await until(async () => (await ask().catch(() => '')) === STRANGER, 'the app answers')
  return { port, ask }
}

t.test('is what docs/apps.md shows', (t) => {
  const shown = /```js\n([\s\S]*?)```/.exec(readFileSync(DOC, 'utf8'))?.[1]
  t.equal(readFileSync(APP, 'utf8').replace(/^\/\*\*.*\*\/\n\n/, ''), shown)
  t.end()
})

t.test('takes an assertion for itself, and refuses every other token', async (t) => {
  const clock = createClock(new Date().toISOString())
  const { keys } = await signingEdgeFor(t, { store: await storeFor(t), clock })
  const published = await originFor(t, (_request, response) => response.end(JSON.stringify(keys.jwks())))
  const app = await appFor(t, `http://127.0.0.1:${published.port}`)
  const nowMs = clock.ms
  const sign = (other: Parameters<typeof demandOf>[1] = {}) =>
    keys.sign(demandOf(clock, { kind: 'assertion', audience: '127.0.0.1', ...other }))
  const fine = await sign()
  t.equal(await app.ask(fine), 'You are user-1.\n')
  t.equal(await app.ask(await sign({ claims: { email: 'ada@example.test' } })), 'You are ada@example.test.\n')
  const [head = '', body = '', signature = ''] = fine.split('.')
  const none = Buffer.from(JSON.stringify({ alg: 'none', typ: TYPES.assertion })).toString('base64url')
  const altered = Buffer.from(Buffer.from(body, 'base64url').toString().replace('user-1', 'user-2'))
  const others: Readonly<Record<string, string>> = {
    'for another host': await sign({ audience: 'web.example.test' }),
    'a token of an API': await sign({ kind: 'token' }),
    'a cookie': await sign({ kind: 'cookie' }),
    expired: await sign({ expiresAt: nowMs / 1_000 - 10 }),
    altered: `${head}.${altered.toString('base64url')}.${signature}`,
    unsigned: `${none}.${body}.`,
    truncated: fine.slice(0, -4),
    'no token at all': 'ada@example.test',
  }
  for (const [name, token] of Object.entries(others)) t.equal(await app.ask(token), UNCHECKED, name)
  clock.ms = nowMs - 310_000
  t.equal(
    await app.ask(await sign({ expiresAt: nowMs / 1_000 + 3_600 })),
    UNCHECKED,
    'older than five minutes',
  )
  t.equal(await app.ask(), STRANGER)
  t.equal(published.requests.length, 1, 'the keys are fetched once')
})

async function callThrough(edge: TestEdge, host: string, fields = ''): Promise<string> {
  const request = `GET / HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`
  const { body } = await exchange(await edge.dial(host), request, isWhole)
  return body.toString()
}

t.test('behind an edge it knows who calls, whatever they send', async (t) => {
  const edge = await edgeFor(t)
  const host = 'app.localhost'
  const app = await appFor(t, `https://${host}:${edge.httpsPort}`, edge.caFile)
  await edge.route(host, app.port)
  const token = `X-Landfall-Authorization: Bearer ${edge.adminToken}\r\n`
  t.equal(await callThrough(edge, host, token), 'You are api:bootstrap.\n')
  t.equal(await callThrough(edge, host), STRANGER)
  const other = await originFor(t)
  await edge.route('other.localhost', other.port)
  await callThrough(edge, 'other.localhost', token)
  const assertion = String(other.requests[0]?.headers['x-landfall-assertion'])
  t.match(assertion, /^[\w-]+\.[\w-]+\.[\w-]+$/)
  t.equal(await app.ask(assertion), UNCHECKED, 'that of another VM')
  for (const name of ['X-Landfall-Assertion', 'x_landfall_assertion', 'X-LANDFALL_Assertion']) {
    t.equal(await callThrough(edge, host, `${name}: ${assertion}\r\n`), STRANGER, name)
  }
})

t.test('on a private port it is asked by nobody but those who may', async (t) => {
  const edge = await edgeFor(t)
  const host = 'app.localhost'
  const app = await appFor(t, `https://${host}:${edge.httpsPort}`, edge.caFile)
  await putTestRoute(edge.store, {
    hostname: host,
    pool: 'apps',
    upstream: { host: '127.0.0.1', port: app.port },
  })
  const token = `X-Landfall-Authorization: Bearer ${edge.adminToken}\r\n`
  await until(async () => (await callThrough(edge, host, token)) === 'You are api:bootstrap.\n', 'the route')
  t.match(await callThrough(edge, host), /auth_required/)
})
