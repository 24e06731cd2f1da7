/**
 * A tenant's VM answers an HTTP/2 client with fields that HTTP/2 forbids or has but once: `Upgrade: h2,h2c`, as some
 * servers send by default, or Content-Type twice. A naive proxy hands them to Node, which throws, and the whole process
 * dies. The client must get the answer, without the fields that are for one hop only.
 */

import t from 'tap'
import { h2Call, h2Exchange } from '../helpers/h2-client.ts'
import { HOST, routedEdgeFor } from '../helpers/routed-edge.ts'
import { scriptedVmFor } from '../helpers/scripted-vm.ts'
import { until } from '../helpers/until.ts'

const HOP_BY_HOP: Readonly<Record<string, string>> = {
  upgrade: 'h2,h2c',
  connection: 'Upgrade, Keep-Alive',
  'keep-alive': 'timeout=5',
  'proxy-connection': 'keep-alive',
  'http2-settings': 'AAMAAABkAAQAAP__',
  te: 'gzip',
  'proxy-authenticate': 'Basic realm="x"',
}
/** Node's HTTP/2 side throws for a second one of these. */
const ONCE_ONLY: Readonly<Record<string, string>> = {
  'content-type': 'text/plain',
  etag: '"x"',
  location: '/x',
  'last-modified': 'Tue, 01 Jul 2025 00:00:00 GMT',
  'access-control-allow-credentials': 'true',
  age: '1',
  server: 'x',
  date: 'Tue, 01 Jul 2025 00:00:00 GMT',
}

const ask = { ':path': '/', ':authority': HOST }

function answerWith(lines: string): string {
  return `HTTP/1.1 200 OK\r\n${lines}x-kept: yes\r\ncontent-length: 2\r\n\r\nok`
}

for (const name of Object.keys(HOP_BY_HOP)) {
  t.test(`a VM's ${name} field does not reach an HTTP/2 client`, async (t) => {
    const vm = await scriptedVmFor(t, answerWith(`${name}: ${HOP_BY_HOP[name]}\r\n`))
    const edge = await routedEdgeFor(t, vm.port)
    const session = await edge.openH2()
    const answer = await h2Exchange(session, ask)
    t.match(answer, { status: 200, body: 'ok', headers: { 'x-kept': 'yes' } })
    t.notOk(name in answer.headers)
    t.equal((await h2Exchange(session, ask)).status, 200, 'the session goes on')
    await edge.checkAlive()
  })
}

for (const [name, value] of Object.entries(ONCE_ONLY)) {
  t.test(`a VM's answer with ${name} twice is no error of the edge`, async (t) => {
    const vm = await scriptedVmFor(t, answerWith(`${name}: ${value}\r\n${name}: ${value}\r\n`))
    const edge = await routedEdgeFor(t, vm.port)
    const session = await edge.openH2()
    const answer = await h2Exchange(session, ask)
    t.match(answer, { status: 200, body: 'ok', headers: { 'x-kept': 'yes' } })
    await edge.checkAlive()
  })
}

t.test('odd but legal names reach an HTTP/2 client', async (t) => {
  const vm = await scriptedVmFor(t, answerWith("__proto__: a\r\nconstructor: b\r\n!#$%&'*+-.^_`|~: c\r\n"))
  const edge = await routedEdgeFor(t, vm.port)
  const answer = await h2Exchange(await edge.openH2(), ask)
  t.match(answer, { status: 200, body: 'ok', headers: { constructor: 'b', "!#$%&'*+-.^_`|~": 'c' } })
  await edge.checkAlive()
})

for (const [name, value] of Object.entries(HOP_BY_HOP)) {
  t.test(
    `a VM's ${name} field in an interim answer or a trailer does not reach an HTTP/2 client`,
    async (t) => {
      const line = `${name}: ${value}\r\n`
      const vm = await scriptedVmFor(
        t,
        `HTTP/1.1 103 Early Hints\r\n${line}link: </a.css>\r\n\r\n` +
          `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${line}x-check: 1\r\n\r\n`,
      )
      const edge = await routedEdgeFor(t, vm.port)
      const answer = await h2Call(await edge.openH2(), ask).closed
      t.match(answer, { status: 200, body: 'ok', trailers: { 'x-check': '1' } })
      t.match(answer.informed, [{ link: '</a.css>' }])
      t.notOk(name in answer.trailers)
      t.notOk(name in (answer.informed[0] ?? {}))
      await edge.checkAlive()
    },
  )
}

t.test('an interim answer with a field twice is no error of the edge', async (t) => {
  const vm = await scriptedVmFor(
    t,
    'HTTP/1.1 103 Early Hints\r\ncontent-type: a/b\r\ncontent-type: a/b\r\nlink: </a.css>\r\nlink: </b.css>\r\n\r\n' +
      answerWith(''),
  )
  const edge = await routedEdgeFor(t, vm.port)
  const answer = await h2Exchange(await edge.openH2(), ask)
  t.match(answer, { status: 200, body: 'ok' })
  await edge.checkAlive()
})

t.test('a trailer twice is no error of the edge', async (t) => {
  const vm = await scriptedVmFor(
    t,
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\netag: "x"\r\netag: "x"\r\n\r\n',
  )
  const edge = await routedEdgeFor(t, vm.port)
  const call = h2Call(await edge.openH2(), ask)
  await until(() => call.stream.closed, 'the end of the answer', 5_000)
  t.match(call.answer, { status: 200, body: 'ok' })
  t.equal(call.stream.rstCode, 0)
  await edge.checkAlive()
})
