/** Safe retries: what the VM cannot have acted on is sent again, everything else arrives at most once. */

import { createServer } from 'node:http'
import t, { type Test } from 'tap'
import { listenAfterRefusal } from '../helpers/connect-faults.ts'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { findFreePort } from '../helpers/free-port.ts'
import { h2Call } from '../helpers/h2-client.ts'
import { originFor, rawOriginFor } from '../helpers/origin.ts'
import { exchange, isWhole, type RawAnswer } from '../helpers/raw-client.ts'

const HOST = 'app.localhost'
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const requestOf = (method: string, rest = '\r\n') => `${method} /it HTTP/1.1\r\nHost: ${HOST}\r\n${rest}`

for (const method of ['GET', 'POST']) {
  t.test(`${method} to a VM that starts to listen a moment later is answered`, async (t) => {
    const edge = await edgeFor(t)
    const port = await findFreePort()
    const arrived: string[] = []
    const server = createServer((request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => {
        body += chunk.toString('latin1')
      })
      request.on('end', () => {
        arrived.push(`${request.method} ${body}`)
        response.end('up now')
      })
    })
    const seen = listenAfterRefusal(t, server, port)
    await edge.route(HOST, port)
    const rest = method === 'GET' ? '\r\n' : 'Content-Length: 4\r\n\r\nbody'
    const answer = await exchange(await edge.dial(HOST), requestOf(method, rest), isWhole)
    t.match(answer, { status: 200, body: 'up now' })
    t.same(arrived, [`${method} ${method === 'GET' ? '' : 'body'}`])
    t.ok(seen.refusals >= 1, 'it was refused at first')
    t.match(edge.accessLog, [{ status: 200, upstream: { retries: seen.refusals } }])
  })
}

interface Case {
  readonly name: string
  /** The second request on a connection that served one before. */
  readonly request: string
  /** What the VM does with it: sends this, and closes. */
  readonly answer?: string
  /** How often `/it` may arrive at the VM. */
  readonly arrivals: number
  readonly status: number
}

const CASES: readonly Case[] = [
  { name: 'GET is sent again', request: requestOf('GET'), arrivals: 2, status: 200 },
  { name: 'HEAD is sent again', request: requestOf('HEAD'), arrivals: 2, status: 200 },
  { name: 'DELETE is sent again', request: requestOf('DELETE'), arrivals: 2, status: 200 },
  {
    name: 'PUT of nothing is sent again',
    request: requestOf('PUT', 'Content-Length: 0\r\n\r\n'),
    arrivals: 2,
    status: 200,
  },
  {
    name: 'POST is not sent again',
    request: requestOf('POST', 'Content-Length: 4\r\n\r\nbody'),
    arrivals: 1,
    status: 502,
  },
  {
    name: 'POST of nothing is not sent again',
    request: requestOf('POST', 'Content-Length: 0\r\n\r\n'),
    arrivals: 1,
    status: 502,
  },
  {
    name: 'PATCH is not sent again',
    request: requestOf('PATCH', 'Content-Length: 4\r\n\r\nbody'),
    arrivals: 1,
    status: 502,
  },
  {
    name: 'GET is not sent again once a part of the answer came',
    request: requestOf('GET'),
    answer: 'HTTP/1.1 200 O',
    arrivals: 1,
    status: 502,
  },
  {
    name: 'GET is not sent again after an informational response',
    request: requestOf('GET'),
    answer: 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n',
    arrivals: 1,
    status: 502,
  },
  {
    name: 'POST whose body is not yet sent goes out again',
    request: requestOf('POST', 'Content-Length: 4\r\nExpect: 100-continue\r\n\r\n'),
    arrivals: 2,
    status: 200,
  },
]

for (const { name, request, answer = '', arrivals, status } of CASES) {
  t.test(`when the VM closes a connection that was in use before: ${name}`, async (t) => {
    const edge = await edgeFor(t)
    const origin = await staleOriginFor(t, answer)
    await edge.route(HOST, origin.port)
    await warmUp(t, edge)
    const got = await finalAnswer(edge, request)
    t.equal(got.status, status)
    if (status === 502) t.match(got.text, /upstream_(reset|incomplete)/)
    t.equal(arrivalsOf(origin.received), arrivals)
    t.equal(origin.sockets.length, arrivals, 'the second attempt has a connection of its own')
  })
}

t.test('a PUT with a body arrives whole or not at all', async (t) => {
  const edge = await edgeFor(t)
  const origin = await staleOriginFor(t, '')
  await edge.route(HOST, origin.port)
  await warmUp(t, edge)
  const got = await finalAnswer(edge, requestOf('PUT', 'Content-Length: 4\r\n\r\nbody'))
  t.ok(got.status === 502 || got.status === 200, `answered ${got.status}`)
  for (const received of origin.received.slice(1)) t.match(received, /\r\n\r\nbody$/)
  t.equal(arrivalsOf(origin.received), got.status === 502 ? 1 : 2)
})

t.test('a GET that fails on a new connection is not sent again', async (t) => {
  const edge = await edgeFor(t)
  const origin = await rawOriginFor(t, (socket) => void socket.destroy())
  await edge.route(HOST, origin.port)
  t.equal((await finalAnswer(edge, requestOf('GET'))).status, 502)
  t.equal(origin.sockets.length, 1)
})

t.test('a VM that breaks off every time is asked twice and no more', async (t) => {
  const edge = await edgeFor(t)
  let served = 0
  const origin = await rawOriginFor(t, (socket) => {
    served += 1
    if (served === 1) socket.write(OK)
    else socket.destroy()
  })
  await edge.route(HOST, origin.port)
  await warmUp(t, edge)
  t.equal((await finalAnswer(edge, requestOf('GET'))).status, 502)
  t.equal(served, 3)
})

for (const [method, status, arrivals] of [
  ['GET', 200, 2],
  ['POST', 502, 1],
] as const) {
  t.test(
    `${method} over HTTP/2 arrives ${arrivals === 1 ? 'once' : 'again'} after a stale connection`,
    async (t) => {
      const edge = await edgeFor(t)
      const origin = await staleOriginFor(t, '')
      await edge.route(HOST, origin.port)
      await warmUp(t, edge)
      const headers = { ':method': method, ':path': '/it' }
      const call = h2Call(await edge.h2(HOST), headers, { hasBody: method === 'POST' })
      if (method === 'POST') call.stream.end('body')
      t.match(await call.closed, { status })
      t.equal(arrivalsOf(origin.received), arrivals)
    },
  )
}

t.test('a VM that closes each connection soon after its answer makes no GET fail', async (t) => {
  const edge = await edgeFor(t)
  // Measured: 2 of 300 failed with a stock proxy.
  const origin = await originFor(t)
  origin.server.on('connection', (socket) => {
    socket.on('data', () => setTimeout(() => socket.destroySoon(), 5))
  })
  await edge.route(HOST, origin.port)
  const session = await edge.h2(HOST)
  const statuses: number[] = []
  for (let count = 0; count < 300; count += 1) {
    statuses.push((await h2Call(session, { ':path': `/${count}` }).closed).status)
    if (count % 3 === 0) await new Promise((resolve) => setTimeout(resolve, count % 7))
  }
  t.same(
    statuses.filter((status) => status !== 200),
    [],
  )
})

/** Serves the first request on its first connection, breaks off at the second one there; serves all on later ones. */
async function staleOriginFor(t: Test, lastWords: string) {
  return rawOriginFor(t, (socket, received, connection) => {
    if (!isRequestWhole(received)) return
    const isStale = connection === 0 && received.includes(' /it ')
    if (!isStale) socket.write(answerTo(received))
    else if (lastWords === '') socket.destroy()
    else socket.end(lastWords)
  })
}

function answerTo(received: string): string {
  if (received.startsWith('HEAD')) return 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n'
  const waits = /expect: 100-continue/i.test(received) && received.endsWith('\r\n\r\n')
  return waits ? 'HTTP/1.1 100 Continue\r\n\r\n' : OK
}

/** The head, and the body if one is announced and not waited for. */
function isRequestWhole(received: string): boolean {
  const last = received.slice(Math.max(0, received.lastIndexOf(' /it ') - 8))
  const isWaiting = /expect: 100-continue/i.test(last)
  return (
    last.endsWith('body') ||
    last.endsWith('\r\n0\r\n\r\n') ||
    (last.endsWith('\r\n\r\n') && (isWaiting || !/content-length: 4|chunked/i.test(last)))
  )
}

/** One request, so that the edge has a connection to use again. */
async function warmUp(t: Test, edge: TestEdge): Promise<void> {
  const answer = await exchange(
    await edge.dial(HOST),
    `GET /first HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`,
    isWhole,
  )
  t.equal(answer.status, 200)
}

/** The last response of the answer; sends the body when a 100 asks for it. */
async function finalAnswer(edge: TestEdge, request: string): Promise<RawAnswer> {
  const socket = await edge.dial(HOST)
  let isBodyDue = request.includes('100-continue')
  const isDone = (text: string) => {
    if (isBodyDue && text.startsWith('HTTP/1.1 100')) {
      isBodyDue = false
      socket.write('body')
    }
    const last = text.slice(text.lastIndexOf('HTTP/1.1 '))
    return isWhole(last) || (request.startsWith('HEAD') && last.endsWith('\r\n\r\n'))
  }
  const answer = await exchange(socket, request, isDone)
  const last = answer.text.slice(answer.text.lastIndexOf('HTTP/1.1 '))
  return { ...answer, status: Number(last.split(' ')[1]), text: last }
}

function arrivalsOf(received: readonly string[]): number {
  return received.join('').split(' /it ').length - 1
}
