/**
 * A proxy that opens a connection for each request runs out of ports under load; one that keeps connections without care
 * writes into those that the VM has just closed, and its clients get 502. The edge must reuse connections, and a client
 * must never notice that one was stale.
 */

import t, { type Test } from 'tap'
import { h2Exchange } from '../helpers/h2-client.ts'
import { rawOriginFor } from '../helpers/origin.ts'
import { putTestRoute } from '../helpers/route.ts'
import { HOST, routedEdgeFor } from '../helpers/routed-edge.ts'
import { scriptedVmFor, VM_OK } from '../helpers/scripted-vm.ts'
import { until } from '../helpers/until.ts'

const GET = `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`
const REQUESTS = 300

t.test('sequential requests of many clients share one connection to the VM', async (t) => {
  const vm = await scriptedVmFor(t)
  const edge = await routedEdgeFor(t, vm.port)
  const session = await edge.openH2()
  for (let sent = 0; sent < 10; sent += 1) {
    t.equal((await edge.send(GET)).status, 200)
    t.equal((await edge.send(GET, 'tls')).status, 200)
    t.equal((await h2Exchange(session, { ':path': '/', ':authority': HOST })).status, 200)
    t.equal(
      (await h2Exchange(session, { ':method': 'POST', ':path': '/', ':authority': HOST }, 'hi')).status,
      200,
    )
  }
  t.equal(vm.requests.length, 40)
  t.equal(vm.received.length, 1, 'one connection')
  t.notMatch(vm.received[0], /connection: close/i)
})

t.test('connections are kept by upstream, not shared between them', async (t) => {
  const [vm, other] = [await scriptedVmFor(t), await scriptedVmFor(t)]
  const edge = await routedEdgeFor(t, vm.port)
  await edge.route('other.localhost', other.port)
  for (let sent = 0; sent < 5; sent += 1) {
    await edge.send(GET)
    await edge.send('GET / HTTP/1.1\r\nHost: other.localhost\r\n\r\n')
  }
  t.match(vm.requests.length, 5)
  t.match(other.requests.length, 5)
  t.same([vm.received.length, other.received.length], [1, 1])
})

t.test(
  'a connection to a VM is not used for its next generation, though the address is the same',
  async (t) => {
    const vm = await scriptedVmFor(t)
    const edge = await routedEdgeFor(t, vm.port)
    const row = {
      ...({ hostname: 'vm.localhost', visibility: 'public', vm: 'a', port: 8_000 } as const),
      upstream: { host: '127.0.0.1', port: vm.port },
    }
    await putTestRoute(edge.store, { ...row, generation: 1 })
    const ask = () => edge.send('GET / HTTP/1.1\r\nHost: vm.localhost\r\n\r\n')
    await until(async () => (await ask()).status === 200, 'the route reaches the edge')
    for (let sent = 0; sent < 3; sent += 1) t.equal((await ask()).status, 200)
    t.equal(vm.received.length, 1)
    await putTestRoute(edge.store, { ...row, generation: 2 })
    await until(async () => (await ask()).status === 200 && vm.received.length > 1, 'a new connection')
    const before = vm.requests.length
    for (let sent = 0; sent < 3; sent += 1) t.equal((await ask()).status, 200)
    t.same(
      vm.requests.slice(before).map(({ connection }) => connection),
      [1, 1, 1],
    )
  },
)

const CLOSINGS = {
  'right behind each answer': (close: () => void) => close(),
  'a turn after each answer': (close: () => void) => setImmediate(close),
  '1 ms after each answer': (close: () => void) => setTimeout(close, 1),
  '5 ms after each answer': (close: () => void) => setTimeout(close, 5),
}

/** Answers and then closes by itself; `later` says when. */
function leavingVmFor(t: Test, how: 'ends' | 'resets', later: (close: () => void) => void) {
  return scriptedVmFor(t, (socket) => {
    socket.write(VM_OK, () => later(() => (how === 'ends' ? socket.end() : socket.resetAndDestroy())))
  })
}

for (const [name, later] of Object.entries(CLOSINGS)) {
  for (const how of ['ends', 'resets'] as const) {
    t.test(`no GET of ${REQUESTS} fails when the VM ${how} its connections ${name}`, async (t) => {
      const vm = await leavingVmFor(t, how, later)
      const edge = await routedEdgeFor(t, vm.port)
      const session = await edge.openH2()
      const failed: number[] = []
      for (let sent = 0; sent < REQUESTS; sent += 1) {
        const { status } = await h2Exchange(session, { ':path': '/', ':authority': HOST })
        if (status !== 200) failed.push(status)
      }
      t.same(failed, [])
    })
  }
}

t.test('no GET of many connections fails when the VM ends its own 5 ms after each answer', async (t) => {
  const vm = await leavingVmFor(t, 'ends', CLOSINGS['5 ms after each answer'])
  const edge = await routedEdgeFor(t, vm.port)
  for (let sent = 0; sent < REQUESTS; sent += 10) {
    const answers = await Promise.all(Array.from({ length: 10 }, () => edge.send(GET)))
    t.same(
      answers.filter(({ status }) => status !== 200),
      [],
    )
  }
})

t.test('a POST that has reached the VM is not sent a second time', async (t) => {
  const vm = await scriptedVmFor(t, (socket, { head }) => {
    if (head.startsWith('POST')) socket.destroy()
    else socket.write(VM_OK)
  })
  const edge = await routedEdgeFor(t, vm.port)
  await edge.send(GET)
  const answer = await edge.send(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 2\r\n\r\nhi`)
  t.equal(answer.status, 502)
  t.match(JSON.parse(answer.body), { code: 'upstream_reset' })
  t.equal(vm.requests.filter(({ head }) => head.startsWith('POST')).length, 1)
})

t.test('a GET that a fresh connection lost is not sent a second time', async (t) => {
  const vm = await scriptedVmFor(t, (socket) => socket.destroy())
  const edge = await routedEdgeFor(t, vm.port)
  const answer = await edge.send(GET)
  t.equal(answer.status, 502)
  t.equal(vm.requests.length, 1)
})

t.test('a GET is not sent again once a byte of its answer came', async (t) => {
  const vm = await scriptedVmFor(t, (socket, { connection }) => {
    if (vm.requests.length === 1) socket.write(VM_OK)
    else socket.end(`HTTP/1.1 ${connection}`)
  })
  const edge = await routedEdgeFor(t, vm.port)
  await edge.send(GET)
  t.equal((await edge.send(GET)).status, 502)
  t.equal(vm.requests.length, 2)
})

t.test(
  'a connection on which the VM said too much is closed, and nothing of it reaches the next client',
  async (t) => {
    const vm = await rawOriginFor(t, (socket) => {
      socket.write(`${VM_OK}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison`)
    })
    const edge = await routedEdgeFor(t, vm.port)
    for (let sent = 0; sent < 5; sent += 1) t.match(await edge.send(GET), { status: 200, body: 'ok' })
    t.equal(vm.received.length, 5)
  },
)

t.test('bytes that come on an idle connection close it', async (t) => {
  const vm = await scriptedVmFor(t)
  const edge = await routedEdgeFor(t, vm.port)
  await edge.send(GET)
  vm.sockets[0]?.write('HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison')
  await until(
    () => vm.sockets[0]?.readableEnded === true || vm.sockets[0]?.destroyed === true,
    'closed',
    2_000,
  )
  t.match(await edge.send(GET), { status: 200, body: 'ok' })
  t.equal(vm.received.length, 2)
})
