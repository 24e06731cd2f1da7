/** Guests that sleep and wake: by a request, by themselves, and as if nothing had happened. */

import { once } from 'node:events'
import { cp, readdir, rm } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  type GuestLandfall,
  guestLandfallFor,
  ownerFor,
  SLOW_MS,
  type Ssh,
} from '../helpers/guest-landfall.ts'
import { guestOptions } from '../helpers/guests.ts'
import { missingSsh } from '../helpers/sshd.ts'
import { until } from '../helpers/until.ts'

const { skip = missingSsh(), timeout } = { skip: undefined, ...(await guestOptions()) }
/** `date +%s` cuts off up to a second, and a busy machine may take as long to answer. */
const CLOCK_SLACK_S = 2
/** A clock that stood still meanwhile is behind by more than that. */
const NAP_MS = 5_000
const IDLE_MS = 5_000
const BODY = 'body'.repeat(50_000)
const BODY_HASH = 'a077cb45d91b4cb241b3afec0e1693bb'
const AT_ONCE = 5
const RANDOM = /^( [0-9a-f]{2}){16}\n$/
/** RFC 6455 section 1.3. */
const WEBSOCKET = { key: 'dGhlIHNhbXBsZSBub25jZQ==', accept: 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=' }

const SCRIPTS: Readonly<Record<string, string>> = {
  'sum.cgi': `printf 'Content-Type: text/plain\\r\\n\\r\\n'; head -c $CONTENT_LENGTH | md5sum`,
  'random.cgi': `printf 'Content-Type: text/plain\\r\\n\\r\\n'; head -c 16 /dev/urandom | od -An -tx1`,
  'events.cgi': `printf 'Content-Type: text/event-stream\\r\\n\\r\\n'; while echo 'data: tick'; do echo; sleep 1; done`,
  'socket.cgi': `printf 'HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: ${WEBSOCKET.accept}\\r\\n\\r\\n'; exec sleep 600`,
}

t.test('guests that sleep', { skip, timeout }, async (t) => {
  const landfall = await helloFor(t)
  await t.test('wake by a request and go on where they were', (t) => checkWake(t, landfall))
  await t.test('sleep by themselves when nobody is connected', (t) => checkIdle(t, landfall))
  // The last one: the disk is ahead of the memory afterwards.
  await t.test('never have the same random numbers twice', (t) => checkRandom(t, landfall))
})

async function checkWake(t: Test, landfall: GuestLandfall): Promise<void> {
  const before = await landfall.facts('hello')
  await landfall.must('vm', 'suspend', 'hello')
  t.match(await landfall.show('hello'), { report: { state: 'asleep' } })
  const asleepAt = performance.now()
  await until(() => performance.now() - asleepAt > NAP_MS, 'it has slept')
  const askedAt = Date.now() / 1_000
  const woken = await landfall.facts('hello')
  t.equal(woken.asked, before.asked + 1, 'its memory was kept, and the request came once')
  t.equal(woken.logged, before.logged + 1, 'and its disk')
  t.ok(woken.seconds >= Math.floor(askedAt) - CLOCK_SLACK_S, `${askedAt} ≤ ${woken.seconds}`)
  t.ok(woken.seconds <= Date.now() / 1_000 + CLOCK_SLACK_S)

  await landfall.must('vm', 'suspend', 'hello')
  const posted = await landfall.ask('hello', { method: 'POST', path: '/cgi-bin/sum.cgi', body: BODY })
  t.match(posted, { status: 200, text: BODY_HASH }, 'a body is held, too')

  await landfall.must('vm', 'suspend', 'hello')
  await Promise.all(Array.from({ length: AT_ONCE }, () => landfall.facts('hello')))
  const { logged } = await landfall.facts('hello')
  t.equal(logged, woken.logged + AT_ONCE + 1, 'each of those that waited was answered, once')
}

async function checkIdle(t: Test, landfall: GuestLandfall): Promise<void> {
  const before = await landfall.facts('hello')
  await landfall.must('vm', 'set', 'hello', '--suspend-after', '5s')
  for (const open of [openEvents, openWebSocket]) {
    const socket = await open(landfall)
    const openedAt = performance.now()
    await until(() => performance.now() - openedAt > 2 * IDLE_MS, 'it had time to fall asleep', 3 * IDLE_MS)
    t.match(await landfall.show('hello'), { report: { state: 'running' } }, `${open.name} keeps it awake`)
    socket.destroy()
  }
  await landfall.untilState('hello', 'asleep')
  t.equal((await landfall.facts('hello')).asked, before.asked + 1, 'it slept, and did not end')
  await landfall.must('vm', 'set', 'hello', '--suspend-after', 'never')
}

async function checkRandom(t: Test, landfall: GuestLandfall): Promise<void> {
  await landfall.must('vm', 'suspend', 'hello')
  const [folder = ''] = await readdir(join(landfall.dataFolder, 'vms'))
  const memory = join(landfall.dataFolder, 'vms', folder, 'suspended')
  const kept = join(landfall.dataFolder, 'kept-memory')
  await cp(memory, kept, { recursive: true })
  const random = async () => (await landfall.ask('hello', { path: '/cgi-bin/random.cgi' })).text
  const first = await random()
  t.match(first, RANDOM)
  await landfall.must('vm', 'suspend', 'hello')
  await rm(memory, { recursive: true })
  await cp(kept, memory, { recursive: true })
  const second = await random()
  t.match(second, RANDOM)
  t.not(second, first, 'though it woke twice from the same memory')
}

/** With the scripts that the tests ask. */
async function helloFor(t: Test): Promise<GuestLandfall> {
  const landfall = await guestLandfallFor(t, { hello: 'kept' })
  const { ssh } = await ownerFor(t, landfall)
  await landfall.must('port', 'set', 'hello', '22', '--public')
  await install(ssh)
  return landfall
}

async function install(ssh: Ssh): Promise<void> {
  const lines = Object.entries(SCRIPTS).map(
    ([name, script]) =>
      `echo ${Buffer.from(`#!/bin/sh\n${script}\n`).toString('base64')} | base64 -d >${name}; chmod 755 ${name}`,
  )
  const { code, stderr } = await ssh('hello', ['cd /srv/hello/cgi-bin', ...lines, 'sync'].join('; '))
  if (code !== 0) throw new Error(`the scripts are not there: ${stderr}`)
}

async function openEvents(landfall: GuestLandfall): Promise<Socket> {
  const outgoing = request({ ...placeOf(landfall), path: '/cgi-bin/events.cgi' }).end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  response.on('error', () => undefined)
  const [first] = await once(response, 'data')
  if (!String(first).includes('tick')) throw new Error(`the first event is ${first}`)
  return response.socket
}

async function openWebSocket(landfall: GuestLandfall): Promise<Socket> {
  const place = placeOf(landfall)
  const headers = {
    ...place.headers,
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': WEBSOCKET.key,
  }
  const outgoing = request({ ...place, path: '/cgi-bin/socket.cgi', headers }).end()
  outgoing.on('response', ({ statusCode }) =>
    outgoing.destroy(new Error(`the upgrade was refused: ${statusCode}`)),
  )
  const [, socket] = (await once(outgoing, 'upgrade', { signal: AbortSignal.timeout(SLOW_MS) })) as [
    IncomingMessage,
    Socket,
  ]
  socket.on('error', () => undefined)
  return socket
}

function placeOf({ httpsPort, ca }: GuestLandfall) {
  const servername = 'hello.localhost'
  const headers = { host: `${servername}:${httpsPort}` }
  return { host: '127.0.0.1', port: httpsPort, servername, ca, headers, agent: false as const }
}
