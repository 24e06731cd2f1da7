/**
 * A tenant's VM answers with a status such as `000` or `099`, or with control characters in the reason. A naive proxy
 * hands both to Node, which throws, and the process of all tenants dies. The client must get a 502 that names the fault.
 */

import t from 'tap'
import { h2Exchange } from '../helpers/h2-client.ts'
import { accessLineFor, HOST, routedEdgeFor } from '../helpers/routed-edge.ts'
import { scriptedVmFor } from '../helpers/scripted-vm.ts'

const STATUS_LINES = [
  'HTTP/1.1 000 OK',
  'HTTP/1.1 099 OK',
  'HTTP/1.1 600 OK',
  'HTTP/1.1 999 OK',
  'HTTP/1.1 1000 OK',
  'HTTP/1.1 20 OK',
  'HTTP/1.1 2e2 OK',
  'HTTP/1.1 -20 OK',
  'HTTP/1.1 +200 OK',
  'HTTP/1.1 0200 OK',
  'HTTP/1.1 \xb2\xb2\xb2 OK',
  'HTTP/1.1 200OK',
  'HTTP/1.1  200 OK',
  'HTTP/1.1 200 O\x01K',
  'HTTP/1.1 200 O\x00K',
  'HTTP/1.1 200 O\x7fK',
  'HTTP/1.1 200 O\x1b[31mK',
  'HTTP/1.1 200 O\rK',
  'HTTP/1.1 200 O\nK',
  'HTTP/2.0 200 OK',
  'HTTP/1.2 200 OK',
  'HTTP/0.9 200 OK',
  'http/1.1 200 OK',
  'ICY 200 OK',
  '<html>',
]

for (const line of STATUS_LINES) {
  t.test(`a VM that answers ${JSON.stringify(line)} gets its client a 502`, async (t) => {
    const vm = await scriptedVmFor(t, `${line}\r\ncontent-length: 2\r\n\r\nok`)
    const edge = await routedEdgeFor(t, vm.port)
    const problem = { status: 502, code: 'upstream_invalid', retryable: false }
    const overH1 = await edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
    t.equal(overH1.status, 502)
    t.match(JSON.parse(overH1.body), problem)
    t.match(overH1.headers['proxy-status'], /error=http_protocol_error/)
    const overH2 = await h2Exchange(await edge.openH2(), { ':path': '/', ':authority': HOST })
    t.equal(overH2.status, 502)
    t.match(JSON.parse(overH2.body), problem)
    t.match(await accessLineFor(edge, 2), { status: 502, error_code: 'upstream_invalid' })
    await edge.checkAlive()
  })
}

/** RFC 9112 section 4: the reason may be empty, and may hold obs-text. */
const GOOD_LINES = [
  { line: 'HTTP/1.1 200 ', status: 200 },
  { line: 'HTTP/1.1 200', status: 200 },
  { line: 'HTTP/1.1 404 Ni\xf1o no est\xe1', status: 404 },
  { line: 'HTTP/1.1 299 Odd\tbut legal', status: 299 },
  { line: 'HTTP/1.1 599 Last', status: 599 },
]

for (const { line, status } of GOOD_LINES) {
  t.test(`a VM that answers ${JSON.stringify(line)} is relayed`, async (t) => {
    const vm = await scriptedVmFor(t, `${line}\r\ncontent-length: 2\r\n\r\nok`)
    const edge = await routedEdgeFor(t, vm.port)
    const overH1 = await edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
    t.match(overH1, { status, body: 'ok' })
    const overH2 = await h2Exchange(await edge.openH2(), { ':path': '/', ':authority': HOST })
    t.match(overH2, { status, body: 'ok' })
    await edge.checkAlive()
  })
}
