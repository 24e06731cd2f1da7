/** The metadata service over the one stream of QEMU's user-mode network, and a guest that abuses it. */

import { once } from 'node:events'
import { existsSync, statSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { GuestPlace } from '../../../sidecar/network/guest-network.ts'
import { startUserNetwork, type UserSettings } from '../../../sidecar/network/user-network.ts'
import { folderFor } from '../../helpers/folder.ts'
import { QUIET_LOG } from '../../helpers/quiet-log.ts'
import { until } from '../../helpers/until.ts'

const CREATED_AT = '2026-01-31T12:00:00.123Z'

function placeOf(name: string, more: Partial<GuestPlace> = {}): GuestPlace {
  return { name, createdAt: CREATED_AT, slot: 7, egress: 'open', peers: [], ...more }
}

function requestOf(path: string, more = ''): string {
  return `GET ${path} HTTP/1.1\r\nHost: 169.254.169.254\r\nLandfall-Metadata: 1\r\n${more}\r\n`
}

/** A network whose metadata names who asks and what for. */
function networkFor(t: Test, settings: UserSettings = {}) {
  const metadata = {
    answer: async ({ target }: { target: string }, { key, address }: { key: string; address: string }) =>
      ({ status: 200, type: 'text/plain', body: `<${key} ${address} ${target}>` }) as const,
  }
  const network = startUserNetwork({ log: QUIET_LOG, metadata }, settings)
  t.teardown(() => network[Symbol.asyncDispose]())
  return network
}

async function attachedFor(t: Test) {
  const network = networkFor(t)
  const folder = folderFor(t)
  const link = await network.attach(placeOf('one'), folder)
  if (link.kind !== 'user') throw new Error('not a user link')
  const path = link.metadataSocket
  return { network, folder, path, ...(await dialFor(t, path)) }
}

async function dialFor(t: Test, path: string) {
  const socket: Socket = connect(path)
  t.teardown(() => socket.destroy())
  const received = {
    text: '',
    targets: (): readonly string[] => received.text.match(/(?<=<one\S+ \S+ )[^>]+/g) ?? [],
  }
  socket.on('data', (data) => {
    received.text += String(data)
  })
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  return { socket, received }
}

t.test(
  'a link is what QEMU and the guest need, and restricted unless it was allowed otherwise',
  async (t) => {
    const folder = folderFor(t)
    const network = networkFor(t)
    t.same(await network.attach(placeOf('one'), folder), {
      kind: 'user',
      mac: '02:4c:46:01:00:07',
      address: '169.254.0.15/16',
      gateway: '169.254.0.2',
      nameServer: '169.254.0.3',
      network: '169.254.0.0/16',
      isRestricted: true,
      metadataSocket: join(folder, 'metadata.sock'),
    })
    const free = networkFor(t, { isEgressAllowed: true })
    t.match(await free.attach(placeOf('two'), folderFor(t)), { isRestricted: false })
    t.match(await free.attach(placeOf('three', { egress: 'none' }), folderFor(t)), { isRestricted: true })
  },
)

t.test('answers request after request over one stream, with a length each', async (t) => {
  const { socket, received } = await attachedFor(t)
  socket.write(requestOf('/v1/name') + requestOf('/v1/pool'))
  await until(() => received.targets().length === 2, 'two answers')
  socket.write(requestOf('/v1/boot'))
  await until(() => received.targets().length === 3, 'a third')
  const body = '<one-20260131T120000123Z 169.254.0.15 /v1/name>'
  t.ok(received.text.startsWith('HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n'))
  t.ok(received.text.includes(`Content-Length: ${body.length}\r\n`))
  t.ok(received.text.includes(`\r\n\r\n${body}HTTP/1.1 200`))
  t.same(received.targets(), ['/v1/name', '/v1/pool', '/v1/boot'])
})

t.test('what a connection left unfinished does not spoil the next, at once or later', async (t) => {
  const { socket, received } = await attachedFor(t)
  socket.write('GET /v1/bo')
  socket.write(requestOf('/v1/name'))
  await until(() => received.targets().length === 1, 'an answer')
  socket.write('GET /v1/boot HTTP/1.1\r\nX: ')
  await sleep(1_100)
  socket.write(requestOf('/v1/pool'))
  await until(() => received.targets().length === 2, 'another')
  t.same(received.targets(), ['/v1/name', '/v1/pool'])
})

t.test('a request in the body of another is not answered', async (t) => {
  const { socket, received } = await attachedFor(t)
  const inner = requestOf('/v1/boot')
  socket.write(requestOf('/v1/name', `Content-Length: ${inner.length}\r\n`) + inner)
  await until(() => received.targets().length === 1, 'an answer')
  socket.write(inner)
  await sleep(1_100)
  socket.write(requestOf('/v1/pool'))
  await until(() => received.targets().includes('/v1/pool'), 'what comes after a pause is heard again')
  t.same(received.targets(), ['/v1/name', '/v1/pool'])
})

t.test('flood: a guest gets its share of answers, and this process goes on with its work', async (t) => {
  const { socket, received } = await attachedFor(t)
  const from = performance.now()
  // Work between two turns, and not how long others had the processor.
  let longestMs = 0
  let last = process.threadCpuUsage()
  const ticker = setInterval(() => {
    longestMs = Math.max(longestMs, process.threadCpuUsage(last).user / 1_000)
    last = process.threadCpuUsage()
  }, 5)
  t.teardown(() => clearInterval(ticker))
  socket.write(requestOf('/v1/name').repeat(20_000))
  socket.write('\n'.repeat(1_000_000))
  await sleep(2_000)
  const seconds = (performance.now() - from) / 1_000
  const answers = received.targets().length
  t.comment(`${answers} answers in ${seconds.toFixed(1)} s, longest turn ${longestMs.toFixed(0)} ms`)
  t.ok(answers >= 50, 'some')
  t.ok(answers < 70 + 70 * seconds, 'not all')
  t.ok(longestMs < 500)
})

t.test('a guest that reads nothing does not fill the memory of this process', async (t) => {
  const { socket } = await attachedFor(t)
  socket.pause()
  const before = process.memoryUsage().rss
  const one = requestOf('/v1/name')
  for (let round = 0; round < 20; round += 1) socket.write(one.repeat(1_000))
  await sleep(500)
  t.ok(process.memoryUsage().rss - before < 128 * 1_048_576)
})

t.test('a third stream is not served', async (t) => {
  const { path } = await attachedFor(t)
  await dialFor(t, path)
  const { socket } = await dialFor(t, path)
  await once(socket, 'close')
  t.pass('it was closed')
})

t.test('its owner alone may connect, and a socket that was left is replaced', async (t) => {
  const network = networkFor(t)
  const folder = folderFor(t)
  writeFileSync(join(folder, 'metadata.sock'), 'left')
  await network.attach(placeOf('one'), folder)
  await network.attach(placeOf('one'), folder)
  const { mode, uid } = statSync(join(folder, 'metadata.sock'))
  t.equal(mode & 0o777, 0o600)
  t.equal(uid, process.getuid?.() === 0 ? 600_007 : process.getuid?.())
  const { socket, received } = await dialFor(t, join(folder, 'metadata.sock'))
  socket.write(requestOf('/v1/name'))
  await until(() => received.targets().length === 1, 'an answer')
})

t.test('detach and sweep end what they name, and nothing else', async (t) => {
  const network = networkFor(t)
  const folders = { one: folderFor(t), two: folderFor(t), three: folderFor(t) }
  for (const [name, folder] of Object.entries(folders)) await network.attach(placeOf(name), folder)
  await network.detach(placeOf('two'))
  await network.detach(placeOf('never'))
  await network.sweep([placeOf('one')])
  await network.update(placeOf('one'))
  const left = Object.entries(folders).filter(([, folder]) => existsSync(join(folder, 'metadata.sock')))
  t.same(
    left.map(([name]) => name),
    ['one'],
  )
})

t.test('a path that no socket can have is refused by name', async (t) => {
  const folder = join(folderFor(t), 'x'.repeat(100))
  const attached = networkFor(t).attach(placeOf('one'), folder)
  await t.rejects(attached, { code: 'network_failed', message: /longer than a socket's path/ })
})
