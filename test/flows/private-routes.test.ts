/** Private routes: without a login nothing reaches the VM, and a change of visibility holds from the next request on. */

import { connect } from 'node:tls'
import t from 'tap'
import { adminCallOf } from '../helpers/admin-call.ts'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { h2Call } from '../helpers/h2-client.ts'
import { landfallFor } from '../helpers/landfall.ts'
import { originFor } from '../helpers/origin.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'

const HOST = 'app.localhost'
const ROUTE = `/v1/routes/${HOST}`
const upgrade =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'

const REQUESTS: Readonly<Record<string, string>> = {
  'a page': `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`,
  'an upload': `POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 4\r\n\r\nbody`,
  'an upload that waits': `PUT / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n`,
  'a WebSocket': `GET / HTTP/1.1\r\nHost: ${HOST}\r\n${upgrade}\r\n`,
  'an old client': `GET / HTTP/1.0\r\nHost: ${HOST}\r\n\r\n`,
  'an absolute target': `GET http://${HOST}/ HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`,
  'a name in capitals': `GET / HTTP/1.1\r\nHost: APP.localhost\r\n\r\n`,
  'a name with a dot behind': `GET / HTTP/1.1\r\nHost: ${HOST}.\r\n\r\n`,
  'forged identity': `GET / HTTP/1.1\r\nHost: ${HOST}\r\nX-Landfall-User: root\r\nAuthorization: Bearer x\r\n\r\n`,
}

t.test('no kind of request reaches the VM of a private route', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t)
  await putRoute(edge, { upstream: `127.0.0.1:${origin.port}`, visibility: 'private' }, 201)
  let connections = 0
  origin.server.on('connection', () => {
    connections += 1
  })
  for (const [name, request] of Object.entries(REQUESTS)) {
    const answer = await exchange(await edge.dialPlain(), request, isWhole)
    // A trailing dot may also be refused as a name without a route.
    t.ok([401, 404].includes(answer.status), `${name}: ${answer.status}`)
    if (!name.includes('dot')) t.equal(answer.status, 401, name)
  }
  const session = await edge.h2(HOST)
  t.match(await h2Call(session, { ':path': '/' }).closed, { status: 401, body: /"auth_required"/ })
  const webSocket = { ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'https', ':path': '/' }
  t.match(await h2Call(session, { ...webSocket, 'sec-websocket-version': '13' }).closed, { status: 401 })
  t.equal(connections, 0, 'not even a connection')
})

t.test(
  'a refused program gets a problem, a browser the login, its form a page, all with the request id',
  async (t) => {
    const edge = await edgeFor(t)
    await putRoute(edge, { upstream: '127.0.0.1:9', visibility: 'private' }, 201)
    const session = await edge.h2(HOST)
    const problem = await h2Call(session, { ':path': '/' }).closed
    t.match(problem.headers, {
      'content-type': /application\/problem\+json/,
      'proxy-status': /details="auth_required"/,
      'x-request-id': /^[0-9a-f]{32}$/,
    })
    t.match(JSON.parse(problem.body), { status: 401, code: 'auth_required', next: /\.landfall\/login/ })
    t.match(problem.body, problem.headers['x-request-id'] ?? 'an id')
    const page = await h2Call(session, { ':path': '/', accept: 'text/html,*/*;q=0.8' }).closed
    t.match(page, {
      status: 303,
      headers: { location: '/.landfall/login?to=%2F', 'x-request-id': /^[0-9a-f]{32}$/ },
    })
    const form = await h2Call(session, { ':method': 'POST', ':path': '/', accept: 'text/html' }).closed
    t.match(form, { status: 401, headers: { 'content-type': /text\/html/ } })
    t.match(form.body, form.headers['x-request-id'] ?? 'an id')
  },
)

t.test('a route is private unless its writer says otherwise', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t)
  await putRoute(edge, { upstream: `127.0.0.1:${origin.port}` }, 201)
  t.match(await h2Call(await edge.h2(HOST), { ':path': '/' }).closed, { status: 401 })
  t.same(origin.requests, [])
})

t.test(
  'making the route of hello private holds from the next request on, also on open connections',
  async (t) => {
    const landfall = await landfallFor(t)
    const socket = connect({
      host: '127.0.0.1',
      port: landfall.httpsPort,
      servername: 'hello.localhost',
      ca: landfall.ca,
      ALPNProtocols: ['http/1.1'],
    })
    t.teardown(() => socket.destroy())
    const heard = transcriptOf(socket)
    const request = `GET /status/200 HTTP/1.1\r\nHost: hello.localhost:${landfall.httpsPort}\r\n\r\n`
    const setVisibility = async (visibility: string) => {
      const { status } = await landfall.admin('PUT', '/v1/vms/hello/ports/8000', { visibility })
      t.equal(status, 200, visibility)
    }
    socket.write(request)
    await heard.has('status 200\n')
    await setVisibility('private')
    socket.write(request)
    await heard.has('"auth_required"')
    await setVisibility('public')
    socket.write(request)
    await until(() => heard.text.split('status 200\n').length === 3, 'the third answer')
    t.same(heard.text.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 401', 'HTTP/1.1 200'])
  },
)

async function putRoute(edge: TestEdge, body: unknown, status: number): Promise<void> {
  const admin = adminCallOf(edge)
  const answer = await admin('PUT', ROUTE, body)
  if (answer.status !== status) throw new Error(`PUT ${ROUTE} answered ${answer.status}`)
}
