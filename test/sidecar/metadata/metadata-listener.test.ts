/** The metadata service for guests with addresses: who is answered, and a guest that abuses it. */

import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startMetadataListener } from '../../../sidecar/metadata/metadata-listener.ts'
import { QUIET_LOG } from '../../helpers/quiet-log.ts'
import { until } from '../../helpers/until.ts'

const REQUEST = 'GET /v1/name HTTP/1.1\r\nLandfall-Metadata: 1\r\n\r\n'
const TIME_LIMIT_MS = 5_000

/** Guests are 127.0.0.2 and up; 127.0.0.1 is none. */
async function serviceFor(t: Test) {
  const metadata = {
    answer: async ({ target }: { target: string }, { key, address }: { key: string; address: string }) =>
      ({ status: 200, type: 'text/plain', body: `<${key} ${address} ${target}>` }) as const,
  }
  const findKey = (address: string) => (address === '127.0.0.1' ? undefined : `vm-of-${address}`)
  const listener = await startMetadataListener({ log: QUIET_LOG, metadata, findKey }, '127.0.0.1')
  t.teardown(() => listener[Symbol.asyncDispose]())
  return (localAddress: string) => {
    const socket = connect({ port: listener.port, host: '127.0.0.1', localAddress })
    t.teardown(() => socket.destroy())
    let text = ''
    socket.on('data', (data) => {
      text += String(data)
    })
    socket.on('error', () => undefined)
    return {
      socket,
      ended: once(socket, 'close').then(() => text),
      end: () => socket.end(),
      text: () => text,
    }
  }
}

t.test('answers one request a connection, about whose address it came from', async (t) => {
  const dial = await serviceFor(t)
  const { socket, ended } = dial('127.0.0.2')
  socket.write(`${REQUEST}${REQUEST}`)
  socket.once('end', () => socket.end())
  const text = await ended
  t.match(text, /^HTTP\/1\.1 200 OK\r\n/)
  t.match(text, /Connection: close\r\n/)
  t.equal(text.match(/<[^>]*>/g)?.join(), '<vm-of-127.0.0.2 127.0.0.2 /v1/name>')
})

t.test('answers who has said all that he will say, and not who said only a part', async (t) => {
  const dial = await serviceFor(t)
  const whole = dial('127.0.0.2')
  whole.socket.end(REQUEST)
  t.match(await whole.ended, /vm-of-127\.0\.0\.2/)
  const part = dial('127.0.0.2')
  part.socket.end(REQUEST.slice(0, -4))
  t.equal(await part.ended, '')
})

t.test('does not talk to an address that is no guest', async (t) => {
  const dial = await serviceFor(t)
  const { socket, ended } = dial('127.0.0.1')
  socket.write(REQUEST)
  t.equal(await ended, '')
})

t.test('ends what is no HTTP, and who takes too long', async (t) => {
  const dial = await serviceFor(t)
  const garbage = dial('127.0.0.2')
  garbage.socket.write('SSH-2.0-x\r\n\r\n')
  garbage.socket.once('end', () => garbage.end())
  t.match(await garbage.ended, /^HTTP\/1\.1 400 Bad Request\r\n/)
  const from = performance.now()
  const slow = dial('127.0.0.2')
  const timer = setInterval(() => slow.socket.write('x'), 100)
  t.teardown(() => clearInterval(timer))
  slow.socket.write('GET /')
  t.equal(await slow.ended, '')
  t.ok(performance.now() - from > TIME_LIMIT_MS - 100, 'a byte now and then gains no time')
  t.ok(performance.now() - from < TIME_LIMIT_MS * 3)
})

t.test('keeps eight connections of a guest, and is there for the others', async (t) => {
  const dial = await serviceFor(t)
  const held = Array.from({ length: 30 }, () => dial('127.0.0.2'))
  let closed = 0
  for (const { ended } of held) void ended.then(() => (closed += 1))
  await until(() => closed >= 22, 'the others are closed')
  await sleep(100)
  t.equal(closed, 22)
  const { socket, ended } = dial('127.0.0.3')
  socket.once('end', () => socket.end())
  socket.write(REQUEST)
  t.match(await ended, /vm-of-127\.0\.0\.3/)
})
