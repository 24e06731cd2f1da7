/**
 * The attacker writes thousands of requests on one connection without reading an answer. A naive proxy starts them all
 * at once: one small packet opens a thousand connections to the VM, and a GET overtakes the POST in front of it. Here
 * answers come in order, what is not safe is waited for, and one client connection has a bound on what runs at once.
 */

import t, { type Test } from 'tap'
import { APP, attackedEdgeFor, isOver, serves } from '../helpers/attacked-edge.ts'
import { originFor } from '../helpers/origin.ts'
import { exchange } from '../helpers/raw-client.ts'
import { until } from '../helpers/until.ts'

const get = (path: string, extra = '') => `GET ${path} HTTP/1.1\r\nHost: ${APP}\r\n${extra}\r\n`
const LAST = 'Connection: close\r\n'

function bodies(text: string): string[] {
  return [...text.matchAll(/\r\n\r\n(path:[^H]*)/g)].map(([, body]) => body ?? '')
}

/** A VM that answers later requests sooner than earlier ones, and counts what runs at once. */
async function racingVmFor(t: Test) {
  const seen = { running: 0, most: 0, paths: [] as (string | undefined)[] }
  const origin = await originFor(t, (request, response) => {
    seen.paths.push(request.url)
    seen.running += 1
    seen.most = Math.max(seen.most, seen.running)
    setTimeout(() => {
      seen.running -= 1
      response.end(`path:${request.url}`)
    }, Math.random() * 10)
  })
  return { port: origin.port, seen }
}

function pipeline(count: number): { readonly paths: string[]; readonly bytes: string } {
  const paths = Array.from({ length: count }, (_, at) => `/${at}`)
  return { paths, bytes: paths.map((path, at) => get(path, at === count - 1 ? LAST : '')).join('') }
}

t.test('answers pipelined requests in order', async (t) => {
  const edge = await attackedEdgeFor(t)
  const vm = await racingVmFor(t)
  await edge.route(APP, vm.port)
  const { paths, bytes } = pipeline(50)
  const { text } = await exchange(await edge.dialPlain(), bytes)
  t.same(
    bodies(text),
    paths.map((path) => `path:${path}`),
  )
})

// RFC 9112 section 9.6 lets a server end a connection after any answer that says so; the client asks the rest again.
t.test(
  'answers a thousand, or says with which answer it ends, and relays none that it leaves unanswered',
  async (t) => {
    const edge = await attackedEdgeFor(t)
    const vm = await racingVmFor(t)
    await edge.route(APP, vm.port)
    const { paths, bytes } = pipeline(1_000)
    const { text } = await exchange(await edge.dialPlain(), bytes)
    const answered = bodies(text)
    t.same(
      answered,
      paths.slice(0, answered.length).map((path) => `path:${path}`),
    )
    const lastHead = text.slice(text.lastIndexOf('HTTP/1.1 200'))
    t.match(lastHead, /^connection: close\r$/im, `it ends after ${answered.length} with a word`)
    t.equal(vm.seen.paths.length, answered.length, 'the VM got the answered ones only')
  },
)

t.test('runs no more requests of one connection at once than HTTP/2 would have streams', async (t) => {
  const edge = await attackedEdgeFor(t, { LANDFALL_MAX_STREAMS: '20' })
  const vm = await racingVmFor(t)
  await edge.route(APP, vm.port)
  await exchange(await edge.dialPlain(), pipeline(400).bytes)
  t.ok(vm.seen.most >= 1 && vm.seen.most <= 20, `${vm.seen.most} ran at once`)
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
  await until(() => edge.accessLog.some((line) => line.close_reason === 'client_gone'), 'the log')
  await new Promise((resolve) => setTimeout(resolve, 300))
  const seen = count
  await new Promise((resolve) => setTimeout(resolve, 300))
  t.equal(count, seen, 'no request is begun for a client that is gone')
})
