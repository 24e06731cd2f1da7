/** `npm start` on a fresh machine: what a user sees first, and how it ends. */

import { once } from 'node:events'
import { stat } from 'node:fs/promises'
import { get as getHttp, type IncomingMessage } from 'node:http'
import { get as getHttps } from 'node:https'
import { json } from 'node:stream/consumers'
import t from 'tap'
import { findFreePort } from '../helpers/free-port.ts'
import { childrenOf, isRunning, landfallFor } from '../helpers/landfall.ts'
import { until } from '../helpers/until.ts'

/** "Within a few seconds": nothing is open, so nothing has to be waited for. */
const END_MS = 5_000

t.test('says with one line on standard output that it is ready, and logs to standard error', async (t) => {
  const landfall = await landfallFor(t)
  t.equal(landfall.stdout(), `landfall ready https://hello.localhost:${landfall.httpsPort}/\n`)
  t.match(landfall.stderr(), landfall.caFile, 'says where the CA is')
  t.match(landfall.stderr(), 'admin.token', 'says where the token is')
  const [response] = await getHello(landfall)
  response.resume()
  landfall.signal('SIGTERM')
  await landfall.exited
  t.equal(landfall.stdout().split('\n').length, 2, 'nothing more came on standard output')
  const lines = landfall
    .stderr()
    .split('\n')
    .filter((line) => line.startsWith('{'))
  const accesses = lines.map((line) => JSON.parse(line)).filter(({ logger }) => logger === 'access')
  t.match(accesses, [{ request: { method: 'GET', host: 'hello.localhost', uri: '/who' }, status: 404 }])
})

t.test('answers HTTPS from the VM hello with a certificate of the printed CA', async (t) => {
  const landfall = await landfallFor(t)
  const [response] = await getHello(landfall)
  const seen = (await json(response)) as { target: string; headers: Record<string, string> }
  t.equal(seen.target, '/who?me')
  t.match(seen.headers, {
    host: `hello.localhost:${landfall.httpsPort}`,
    'x-forwarded-proto': 'https',
    'x-forwarded-for': '127.0.0.1',
    'x-request-id': response.headers['x-request-id'],
  })
})

t.test('keeps what it makes from other users of the machine', async (t) => {
  const { dataFolder } = await landfallFor(t)
  const mode = async (path: string) => ((await stat(path)).mode & 0o777).toString(8)
  t.equal(await mode(dataFolder), '700')
  t.equal(await mode(`${dataFolder}/ca.key`), '600')
  t.equal(await mode(`${dataFolder}/admin.token`), '600')
})

t.test('sends plain HTTP to HTTPS', async (t) => {
  const httpPort = await findFreePort()
  const landfall = await landfallFor(t, { env: { LANDFALL_HTTP_PORT: String(httpPort) } })
  const headers = { host: `hello.localhost:${httpPort}` }
  const outgoing = getHttp({ host: '127.0.0.1', port: httpPort, path: '/a?b=c', headers, agent: false })
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  response.resume()
  t.equal(response.statusCode, 308)
  t.equal(response.headers.location, `https://hello.localhost:${landfall.httpsPort}/a?b=c`)
})

t.test('answers the admin API with the token from the data folder, and nobody without it', async (t) => {
  const landfall = await landfallFor(t)
  const answer = await landfall.admin('GET', '/v1/routes/hello.localhost')
  t.match(answer, { status: 200, json: { hostname: 'hello.localhost', visibility: 'public', vm: 'hello' } })
  const outgoing = getHttps({
    ...connectionOf(landfall, 'admin.localhost'),
    path: '/v1/routes/hello.localhost',
  })
  const [refused] = (await once(outgoing, 'response')) as [IncomingMessage]
  refused.resume()
  t.equal(refused.statusCode, 401)
})

t.test('answers liveness, readiness and metrics on the operations port', async (t) => {
  const { opsPort } = await landfallFor(t)
  const get = (path: string) => fetch(`http://127.0.0.1:${opsPort}${path}`)
  t.equal((await get('/livez')).status, 200)
  t.match(await (await get('/readyz')).json(), { ready: true })
  t.match(await (await get('/metrics')).text(), /^landfall_table_rows \d+$/m)
})

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  t.test(`ends with code 0 on ${signal} and leaves no child behind`, async (t) => {
    const landfall = await landfallFor(t)
    const children = childrenOf(landfall.pid)
    t.equal(children.length, 1, 'one VM')
    const askedAt = performance.now()
    landfall.signal(signal)
    t.same(await landfall.exited, { code: 0, signal: null })
    t.ok(performance.now() - askedAt < END_MS, 'within a few seconds')
    t.notOk(children.some(isRunning), 'the VM is gone')
  })
}

t.test('leaves no child behind when it is killed', async (t) => {
  const landfall = await landfallFor(t)
  const children = childrenOf(landfall.pid)
  landfall.signal('SIGKILL')
  await landfall.exited
  await until(() => !children.some(isRunning), 'the VM has ended')
})

interface Reachable {
  readonly httpsPort: number
  readonly ca: string
}

async function getHello(landfall: Reachable): Promise<[IncomingMessage]> {
  const outgoing = getHttps({ ...connectionOf(landfall, 'hello.localhost'), path: '/who?me' })
  return (await once(outgoing, 'response')) as [IncomingMessage]
}

/** The name resolves to loopback in browsers; here the address is given so that no resolver is asked. */
function connectionOf({ httpsPort, ca }: Reachable, hostname: string) {
  const headers = { host: `${hostname}:${httpsPort}` }
  return { host: '127.0.0.1', port: httpsPort, servername: hostname, ca, headers, agent: false as const }
}
