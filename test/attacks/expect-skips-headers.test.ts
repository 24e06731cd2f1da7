/**
 * The attacker adds `Expect: 100-continue` to a request with forged identity fields. A naive proxy sets its own fields
 * in an event that is skipped for such requests, so the forged ones reach the VM. Every field rule must hold with Expect.
 */

import t from 'tap'
import { h2Exchange } from '../helpers/h2-client.ts'
import { originFor } from '../helpers/origin.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { HOST, routedEdgeFor } from '../helpers/routed-edge.ts'

const FORGED: Readonly<Record<string, string>> = {
  'x-landfall-user': 'admin',
  x_landfall_email: 'admin@example.test',
  'x-forwarded-for': '6.6.6.6',
  'x-forwarded-host': 'evil.test',
  forwarded: 'for=6.6.6.6',
  'x-request-id': 'forged-request-id',
  'keep-alive': 'timeout=666',
  'proxy-authorization': 'Basic Zm9yZ2Vk',
}
const FORGED_LINES = Object.entries(FORGED)
  .map(([name, value]) => `${name}: ${value}\r\n`)
  .join('')

const isFinal = (text: string) => isWhole(text.replace('HTTP/1.1 100 Continue\r\n\r\n', ''))

function request(method: string, expectation: string, body: string): string {
  const length = body === '' ? '' : `Content-Length: ${body.length}\r\n`
  return `${method} / HTTP/1.1\r\nHost: ${HOST}\r\nExpect: ${expectation}\r\n${length}${FORGED_LINES}\r\n${body}`
}

const CASES = [
  { method: 'POST', expectation: '100-continue', body: 'hello' },
  { method: 'POST', expectation: '100-CONTINUE', body: 'hello' },
  { method: 'GET', expectation: '100-continue', body: '' },
]

for (const over of ['plain', 'tls'] as const) {
  for (const { method, expectation, body } of CASES) {
    t.test(`no forged field passes with Expect: ${expectation} on ${method} over ${over}`, async (t) => {
      const origin = await originFor(t)
      const edge = await routedEdgeFor(t, origin.port)
      const answer = await exchange(await edge.open(over), request(method, expectation, body), isFinal)
      t.match(answer.text, /HTTP\/1\.1 200 /)
      checkForged(t, origin.requests[0]?.headers ?? {})
    })
  }
}

t.test('no forged field passes with Expect over HTTP/2', async (t) => {
  const origin = await originFor(t)
  const edge = await routedEdgeFor(t, origin.port)
  const { 'keep-alive': _refusedByNode, ...forged } = FORGED
  const answer = await h2Exchange(
    await edge.openH2(),
    { ':method': 'POST', ':path': '/', ':authority': HOST, expect: '100-continue', ...forged },
    'hello',
  )
  t.equal(answer.status, 200)
  checkForged(t, origin.requests[0]?.headers ?? {})
})

t.test('an expectation other than 100-continue is refused and never reaches the VM', async (t) => {
  const origin = await originFor(t)
  const edge = await routedEdgeFor(t, origin.port)
  const answer = await edge.send(request('POST', 'a-pony', 'hello'))
  t.match(JSON.parse(answer.body), { status: 417, code: 'request_expectation' })
  t.equal(origin.requests.length, 0)
})

function checkForged(t: { notOk: (value: unknown, name: string) => unknown }, seen: object): void {
  const text = JSON.stringify(seen)
  for (const [name, value] of Object.entries(FORGED)) t.notOk(text.includes(value), `${name} of the client`)
}
