/**
 * The attack: questions with a forged source, so that the answers flood a victim. What one part of the internet is sent is
 * limited, hardly longer than what was asked, and honest resolvers there are told to come over TCP.
 */

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import t from 'tap'
import { dig, responderFor, ZONE } from '../helpers/responder-scene.ts'
import { until } from '../helpers/until.ts'

const QUERY = Buffer.concat([
  Buffer.from('000100000001000000000001', 'hex'),
  Buffer.from('\x03abc\x04acme\x07example\x04test\0', 'latin1'),
  Buffer.from('001000010000291000000000000000', 'hex'),
])
const QUESTIONS = 2_000
const BURST = 50

t.test('a flood from one prefix gets its share and no more', async (t) => {
  let now = 0
  const { port, values, counts } = await responderFor(t, {
    answersPerSecond: 1,
    burst: BURST,
    now: () => now,
  })
  values.set('abc', ['x'.repeat(43), 'y'.repeat(43)])
  const victim = createSocket('udp4')
  t.teardown(() => victim.close())
  victim.bind(0, '127.0.0.1')
  await once(victim, 'listening')
  let [bytes, whole, cut] = [0, 0, 0]
  victim.on('message', (answer) => {
    bytes += answer.length
    if (answer.readUInt16BE(2) & 0x0200) cut += 1
    else whole += 1
  })
  const handled = () => counts().answered + counts().truncated + counts().dropped
  for (let sent = 0; sent < QUESTIONS; sent += 50) {
    for (let index = 0; index < 50; index++) victim.send(QUERY, port, '127.0.0.1')
    await until(() => handled() >= sent + 50, 'the questions are handled')
  }
  await until(() => whole + cut === counts().answered + counts().truncated, 'all answers are here')
  t.equal(whole, BURST)
  t.equal(cut, (QUESTIONS - BURST) / 2, 'every second one is told to come over TCP')
  const factor = bytes / (QUESTIONS * QUERY.length)
  t.comment(`${QUESTIONS} questions, ${whole} answers, ${cut} cut ones, ${factor.toFixed(2)} times the bytes`)
  t.ok(factor < 0.7, 'less comes out than went in')
  t.match(await dig(port, `abc.${ZONE}`, 'TXT', '+tcp'), /ANSWER: 2/, 'an honest neighbour has its answer')
  now += 10_000
  t.match(await dig(port, `abc.${ZONE}`, 'TXT'), /ANSWER: 2/)
})
