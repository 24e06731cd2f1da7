/**
 * A VM sends 103 Early Hints, or 102 to say that it works on it. A naive proxy drops them, or takes one for the answer.
 * RFC 9110 section 15.2: a proxy passes every 1xx on, except a 100 that it asked for itself; and a VM that sends them
 * without end must not hold a client for ever.
 */

import t from 'tap'
import { h2Exchange } from '../helpers/h2-client.ts'
import { exchange, isWhole, parseAnswer } from '../helpers/raw-client.ts'
import { HOST, routedEdgeFor } from '../helpers/routed-edge.ts'
import { scriptedVmFor, VM_OK } from '../helpers/scripted-vm.ts'
import { transcriptOf } from '../helpers/transcript.ts'

const INTERIM =
  'HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nlink: </b.js>; rel=preload\r\n\r\n' +
  'HTTP/1.1 102 Processing\r\n\r\n' +
  'HTTP/1.1 103 Early Hints\r\nlink: </c.png>\r\n\r\n' +
  'HTTP/1.1 199 Odd\r\nx-odd: 1\r\n\r\n'
const GET = `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`

function answersIn(text: string) {
  return text.split(/(?=HTTP\/1\.1 )/).map(parseAnswer)
}

const isFinal = (text: string) => isWhole(answersIn(text).at(-1)?.text ?? '')

for (const way of ['plain', 'tls'] as const) {
  t.test(`every interim answer passes, in order, over ${way}`, async (t) => {
    const vm = await scriptedVmFor(t, INTERIM + VM_OK)
    const edge = await routedEdgeFor(t, vm.port)
    const answers = answersIn((await exchange(await edge.open(way), GET, isFinal)).text)
    t.same(
      answers.map(({ status }) => status),
      [103, 102, 103, 199, 200],
    )
    t.equal(answers[0]?.headers.link, '</a.css>; rel=preload, </b.js>; rel=preload')
    t.equal(answers[3]?.headers['x-odd'], '1')
    t.equal(answers.at(-1)?.body, 'ok')
  })
}

t.test('every interim answer passes, in order, over h2', async (t) => {
  const vm = await scriptedVmFor(t, INTERIM + VM_OK)
  const edge = await routedEdgeFor(t, vm.port)
  const answer = await h2Exchange(await edge.openH2(), { ':path': '/', ':authority': HOST })
  t.match(answer, { status: 200, body: 'ok', resetCode: 0 })
  t.same(
    answer.informed.map((fields) => fields[':status']),
    ['103', '102', '103', '199'],
  )
  t.equal(answer.informed[0]?.link, '</a.css>; rel=preload, </b.js>; rel=preload')
})

t.test('a hint reaches the client before the answer is there', async (t) => {
  const vm = await scriptedVmFor(t, 'HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n')
  const edge = await routedEdgeFor(t, vm.port)
  const socket = await edge.open('plain')
  const got = transcriptOf(socket)
  socket.write(GET)
  await got.has('103 Early Hints')
  vm.sockets[0]?.write(VM_OK)
  await got.has('\r\n\r\nok')
  t.pass('both came')
})

t.test('an HTTP/1.0 client gets the answer alone', async (t) => {
  const vm = await scriptedVmFor(t, INTERIM + VM_OK)
  const edge = await routedEdgeFor(t, vm.port)
  const answer = await edge.send(`GET / HTTP/1.0\r\nHost: ${HOST}\r\n\r\n`)
  t.match(answer, { status: 200, body: 'ok' })
})

t.test('a 100 that no client asked for stops at the edge', async (t) => {
  const vm = await scriptedVmFor(t, `HTTP/1.1 100 Continue\r\n\r\n${VM_OK}`)
  const edge = await routedEdgeFor(t, vm.port)
  t.match(await edge.send(GET), { status: 200, body: 'ok' })
  const overH2 = await h2Exchange(await edge.openH2(), { ':path': '/', ':authority': HOST })
  t.match(overH2, { status: 200, body: 'ok', informed: [] })
})

t.test('a VM that informs without end gets its client a 502', async (t) => {
  const vm = await scriptedVmFor(t, 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(5_000))
  const edge = await routedEdgeFor(t, vm.port)
  const { text } = await exchange(await edge.open('plain'), GET, isFinal)
  t.equal(answersIn(text).at(-1)?.status, 502)
})
