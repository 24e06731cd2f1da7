/**
 * No attacker is needed here: Node's own defaults end healthy traffic. `requestTimeout` kills an upload of more than
 * 300 s however well it goes, short keep-alive limits must not touch what is under way, and the header clock must stop
 * with the header. Each limit may end only what it is for.
 */

import t from 'tap'
import { h1Options } from '../../proxy/h1-server.ts'
import { APP, attackedEdgeFor } from '../helpers/attacked-edge.ts'
import { h2Call } from '../helpers/h2-client.ts'
import { originFor } from '../helpers/origin.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { until } from '../helpers/until.ts'

/** Every limit that is not for bodies, as short as it can be. */
const SHORT = { LANDFALL_HEADERS_TIMEOUT_MS: '1000', LANDFALL_KEEP_ALIVE_TIMEOUT_MS: '1000' }
const STEPS = 8
const STEP_MS = 300

t.test('sets no limit on the time of a whole request', async (t) => {
  const settings = { headerBytes: 8_192, headerCount: 50, headersMs: 1_000, keepAliveMs: 2_000 }
  const options = h1Options(settings)
  t.match(options, {
    requestTimeout: 0,
    headersTimeout: 1_000,
    keepAliveTimeout: 2_000,
    maxHeaderSize: 8_192,
  })
  t.ok((options.connectionsCheckingInterval ?? 30_000) <= 1_000, 'limits are noticed soon')
  t.not(options.insecureHTTPParser, true)
})

t.test(
  'lets a healthy upload take longer than the limits for headers and for idle connections',
  async (t) => {
    const edge = await attackedEdgeFor(t, SHORT)
    const received: string[] = []
    const origin = await originFor(t, (request, response) => {
      let body = ''
      request.on('data', (chunk) => {
        body += chunk
      })
      request.on('end', () => {
        received.push(body)
        response.end('ok')
      })
    })
    await edge.route(APP, origin.port)
    const socket = await edge.dialPlain()
    const call = h2Call(await edge.h2(APP), { ':path': '/', ':method': 'POST' }, { hasBody: true })
    socket.write(`POST / HTTP/1.1\r\nHost: ${APP}\r\nContent-Length: ${STEPS}\r\n\r\n`)
    for (let step = 0; step < STEPS; step += 1) {
      await new Promise((resolve) => setTimeout(resolve, STEP_MS))
      call.stream.write('x')
      if (step < STEPS - 1) socket.write('x')
    }
    call.stream.end()
    t.equal((await exchange(socket, 'x', isWhole)).status, 200)
    t.equal((await call.closed).status, 200)
    t.same(received, ['x'.repeat(STEPS), 'x'.repeat(STEPS)])
  },
)

t.test(
  'lets an answer be silent for longer than the limits for headers and for idle connections',
  async (t) => {
    const edge = await attackedEdgeFor(t, SHORT)
    const origin = await originFor(t, (_request, response) => {
      response.write('begin ')
      setTimeout(() => response.end('end'), STEPS * STEP_MS)
    })
    await edge.route(APP, origin.port)
    const request = `GET / HTTP/1.1\r\nHost: ${APP}\r\nConnection: close\r\n\r\n`
    const overH1 = exchange(await edge.dialPlain(), request)
    const overH2 = h2Call(await edge.h2(APP), { ':path': '/' })
    t.match(await overH1, { status: 200, body: /begin[\s\S]*end/ })
    t.match(await overH2.closed, { status: 200, body: 'begin end', resetCode: 0 })
  },
)

t.test('waits for a slow VM for longer than the limits for headers and for idle connections', async (t) => {
  const edge = await attackedEdgeFor(t, SHORT)
  const origin = await originFor(t, (_request, response) => {
    setTimeout(() => response.end('late'), STEPS * STEP_MS)
  })
  await edge.route(APP, origin.port)
  const call = h2Call(await edge.h2(APP), { ':path': '/' })
  const socket = await edge.dialPlain()
  t.match(await exchange(socket, `GET / HTTP/1.1\r\nHost: ${APP}\r\n\r\n`, isWhole), {
    status: 200,
    body: 'late',
  })
  t.match(await call.closed, { status: 200, body: 'late' })
  await until(
    () => socket.readableEnded || socket.destroyed,
    'the idle limit begins with the end of the answer',
  )
})
