/**
 * The attacker sends a request target that is no URL, such as `GET http://[ HTTP/1.1`. A naive proxy parses it with
 * `new URL`, which throws outside any handler, and the process dies. The edge must answer 400 and go on.
 */

import t from 'tap'
import { h2Call } from '../helpers/h2-client.ts'
import { encodeFields, FLAG, FRAME, H2Wire, requestFields } from '../helpers/h2-wire.ts'
import { accessLineFor, HOST, routedEdgeFor } from '../helpers/routed-edge.ts'
import { scriptedVmFor } from '../helpers/scripted-vm.ts'
import { until } from '../helpers/until.ts'

const TARGETS = [
  'http://[',
  'http://[::1',
  'http://]/',
  'http://',
  'http:///',
  'http://:80/',
  `http://${HOST}:99999/`,
  `http://${HOST}:0/`,
  `http://${HOST}:-1/`,
  `http://${HOST}:8o/`,
  `http://x@${HOST}/`,
  `http://${HOST}%00/`,
  `http://${HOST}#x`,
  `http://${HOST}\\x/`,
  `ftp://${HOST}/`,
  `javascript:alert(1)`,
  'http:',
  `${HOST}:443`,
  'x',
  '?x',
  '*',
  '//[ /',
  '/a#b',
  '/a\x01b',
  '/a\x7fb',
  '/\xff\xfe',
  '/caf\xc3\xa9',
  '\\',
]

for (const target of TARGETS) {
  t.test(`refuses the target ${JSON.stringify(target)} and goes on`, async (t) => {
    const vm = await scriptedVmFor(t)
    const edge = await routedEdgeFor(t, vm.port)
    const request = `GET ${target} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`
    const answer = await edge.send(request)
    t.equal(answer.status, 400)
    t.match(answer.headers, { 'content-type': 'application/problem+json', connection: 'close' })
    t.match(JSON.parse(answer.body), { status: 400, code: /^request_/, next: /./ })
    t.same(vm.requests, [], 'nothing reached the VM')
    await edge.checkAlive()
  })
}

t.test('refuses the same targets on a port that only redirects', async (t) => {
  const vm = await scriptedVmFor(t)
  const edge = await routedEdgeFor(t, vm.port, { LANDFALL_HTTP_MODE: 'redirect' })
  for (const target of TARGETS) {
    const answer = await edge.send(`GET ${target} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
    t.equal(answer.status, 400, target)
  }
  await edge.checkAlive()
})

for (const target of ['[', `${HOST}:443`, `${HOST}:99999`, '*', '/']) {
  t.test(`refuses CONNECT ${target} and goes on`, async (t) => {
    const vm = await scriptedVmFor(t)
    const edge = await routedEdgeFor(t, vm.port)
    const answer = await edge.send(`CONNECT ${target} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
    t.match(String(answer.status), /^40[05]$/)
    t.same(vm.requests, [])
    await edge.checkAlive()
  })
}

const BAD_PSEUDO_FIELDS: readonly (readonly [string, string])[] = [
  ...['http://[', 'x', '*', '/a b', '/a#b', '/caf\xc3\xa9', ''].map((path) => [':path', path] as const),
  ...['[', `${HOST}:99999`, `x@${HOST}`, ''].map((authority) => [':authority', authority] as const),
]

for (const [name, value] of BAD_PSEUDO_FIELDS) {
  t.test(`refuses the ${name} ${JSON.stringify(value)} and goes on`, async (t) => {
    const vm = await scriptedVmFor(t)
    const edge = await routedEdgeFor(t, vm.port)
    const wire = await new H2Wire(await edge.dial(HOST, { alpn: ['h2'] })).start()
    const block = encodeFields(requestFields(HOST, '/', [[name, value]]))
    wire.send(FRAME.headers, FLAG.endHeaders + FLAG.endStream, 1, block)
    await until(() => wire.isSettled(1), 'an answer or a reset')
    // By nghttp2 with a reset, or by the edge with a 400.
    if (wire.isAnswered(1)) t.match(await accessLineFor(edge, 1), { status: 400 })
    t.same(vm.requests, [])
    await edge.checkAlive()
  })
}

t.test('a classic CONNECT over HTTP/2 is refused and the session goes on', async (t) => {
  const vm = await scriptedVmFor(t)
  const edge = await routedEdgeFor(t, vm.port)
  const session = await edge.openH2()
  const refused = h2Call(session, { ':method': 'CONNECT', ':authority': `${HOST}:443` }, { hasBody: true })
  const { status, resetCode } = await refused.closed
  t.ok([400, 403, 404, 405].includes(status) || resetCode !== 0, `status ${status}, reset ${resetCode}`)
  t.equal((await h2Call(session, { ':path': '/', ':authority': HOST }).closed).status, 200)
  await edge.checkAlive()
})
