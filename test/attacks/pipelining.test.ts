/**
 * The attacker writes thousands of requests on one connection without reading an answer. A naive proxy starts them all
 * at once: one small packet opens a thousand connections to the VM, and a GET overtakes the POST in front of it. Here
 * answers come in order, what is not safe is waited for, and one client connection has a bound on what runs at once.
 */

import t from 'tap'
import { APP, attackedEdgeFor, isOver, serves } from '../helpers/attacked-edge.ts'
import { originFor } from '../helpers/origin.ts'
import { exchange } from '../helpers/raw-client.ts'
import { until } from '../helpers/until.ts'

const get = (path: string, extra = '') => `GET ${path} HTTP/1.1\r\nHost: ${APP}\r\n${extra}\r\n`
const LAST = 'Connection: close\r\n'

function bodies(text: string): string[] {
  return [...text.matchAll(/\r\n\r\n(path:[^H]*)/g)].map(([, body]) => body ?? '')
}

t.test('answers a thousand pipelined requests in order', async (t) => {
  const edge = await attackedEdgeFor(t)
  const origin = await originFor(t, (request, response) => {
    // Later ones are answered sooner.
    setTimeout(() => response.end(`path:${request.url}`), Math.random() * 20)
  })
  await edge.route(APP, origin.port)
  const paths = Array.from({ length: 1_000 }, (_, at) => `/${at}`)
  const requests = paths.map((path, at) => get(path, at === 999 ? LAST : '')).join('')
  const { text } = await exchange(await edge.dialPlain(), requests)
  t.same(
    bodies(text),
    paths.map((path) => `path:${path}`),
  )
})

t.test('runs no more requests of one connection at once than HTTP/2 would have streams', async (t) => {
  const edge = await attackedEdgeFor(t, { LANDFALL_MAX_STREAMS: '20' })
  let running = 0
  let most = 0
  const origin = await originFor(t, (request, response) => {
    running += 1
    most = Math.max(most, running)
    setTimeout(() => {
      running -= 1
      response.end(`path:${request.url}`)
    }, 20)
  })
  await edge.route(APP, origin.port)
  const requests = Array.from({ length: 400 }, (_, at) => get(`/${at}`, at === 399 ? LAST : '')).join('')
  const { text } = await exchange(await edge.dialPlain(), requests)
  t.equal(bodies(text).length, 400)
  t.ok(most <= 20, `${most} ran at once`)
})

// RFC 9112 section 9.3.2: only safe methods may be processed in parallel.
t.test('sends what stands behind a POST only when the POST is answered', async (t) => {
  const edge = await attackedEdgeFor(t)
  const events: string[] = []
  const origin = await originFor(t, (request, response) => {
    events.push(`${request.method} begins`)
    request.resume()
    request.on('end', () =>
      setTimeout(() => {
        events.push(`${request.method} ends`)
        response.end(`path:${request.url}`)
      }, 50),
    )
  })
  await edge.route(APP, origin.port)
  const post = `POST /a HTTP/1.1\r\nHost: ${APP}\r\nContent-Length: 5\r\n\r\nhello`
  await exchange(await edge.dialPlain(), post + get('/b', LAST))
  t.same(events, ['POST begins', 'POST ends', 'GET begins', 'GET ends'])
})

t.test('stops reading requests of a client that reads no answers', async (t) => {
  const edge = await attackedEdgeFor(t)
  let count = 0
  const origin = await originFor(t, (_request, response) => {
    count += 1
    response.end('x'.repeat(10_000))
  })
  await edge.route(APP, origin.port)
  const socket = await edge.dialPlain()
  socket.pause()
  const before = process.memoryUsage().rss
  const batch = get('/flood').repeat(500)
  const deadline = performance.now() + 1_500
  let written = 0
  while (performance.now() < deadline && !socket.destroyed) {
    if (socket.writableLength < 1_000_000) {
      socket.write(batch)
      written += 500
    }
    await new Promise(setImmediate)
  }
  const grownBytes = process.memoryUsage().rss - before
  t.ok(count < written, `${count} of ${written} requests were relayed`)
  t.ok(grownBytes < 150_000_000, `grew by ${grownBytes}`)
  await serves(t, edge)
})

t.test('forgets what was pipelined once the client is gone', async (t) => {
  const edge = await attackedEdgeFor(t)
  let count = 0
  const origin = await originFor(t, (_request, response) => {
    count += 1
    setTimeout(() => response.end('x'), 50)
  })
  await edge.route(APP, origin.port)
  const socket = await edge.dialPlain()
  socket.write(get('/wait').repeat(1_000))
  await until(() => count > 0, 'the first at the VM')
  socket.resetAndDestroy()
  t.ok(await isOver(socket))
  await until(() => edge.accessLog.some((line) => line['close_reason'] === 'client_gone'), 'the log')
  await new Promise((resolve) => setTimeout(resolve, 300))
  const seen = count
  await new Promise((resolve) => setTimeout(resolve, 300))
  t.equal(count, seen, 'no request is begun for a client that is gone')
})
