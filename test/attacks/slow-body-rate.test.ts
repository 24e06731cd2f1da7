/**
 * The attacker keeps an upload alive with a byte now and then, below every idle limit, and holds a VM's connection for
 * days. After a grace of 30 s a body must reach LANDFALL_MIN_BODY_RATE on average; only the time in which the edge
 * waits for the client counts. The grace is a constant, so the clock is the argument here.
 */

import { PassThrough } from 'node:stream'
import t, { type Test } from 'tap'
import type { Exchange } from '../../proxy/exchange.ts'
import { RequestBody } from '../../proxy/request-body.ts'
import type { UpstreamConnection } from '../../proxy/upstream-connection.ts'

const GRACE_MS = 30_000
const RATE = 100
const NEVER_MS = 1e9

interface Fake {
  readonly body: RequestBody
  readonly stream: PassThrough
  readonly startedAt: number
}

/** A body of which nothing has come; `isUpstreamFull` makes every write to the VM fill it up. */
async function bodyFor(
  t: Test,
  { idleMs = NEVER_MS, isUpstreamFull = false, expectsContinue = false } = {},
): Promise<Fake> {
  const stream = new PassThrough()
  const exchange = {
    body: stream,
    bodyFraming: 1_000_000,
    isBodyComplete: false,
    expectsContinue,
    record: { bytesIn: 0 },
    sendContinue: () => {},
    trailers: () => [],
  } as unknown as Exchange
  const connection = { write: () => !isUpstreamFull, cork() {}, uncork() {} } as unknown as UpstreamConnection
  const settings = { times: { bodyIdleMs: idleMs }, bodyBytesPerSecond: RATE }
  const body = new RequestBody(exchange, settings)
  const startedAt = performance.now()
  body.connect(connection)
  t.teardown(() => {
    body.stop()
    stream.destroy()
  })
  return { body, stream, startedAt }
}

async function receive({ stream }: Fake, bytes: number): Promise<void> {
  stream.write(Buffer.alloc(bytes, 'x'))
  await new Promise(setImmediate)
}

t.test('lets a slow start be, until the grace is over', async (t) => {
  const fake = await bodyFor(t)
  await receive(fake, 1)
  t.equal(fake.body.findFault(fake.startedAt + GRACE_MS - 1_000), undefined)
  t.match(fake.body.findFault(fake.startedAt + GRACE_MS + 1_000), {
    code: 'limit_slow_body',
    fault: { status: 408 },
  })
})

t.test('judges the average since the start', async (t) => {
  const fake = await bodyFor(t)
  await receive(fake, RATE * 60)
  t.equal(fake.body.findFault(fake.startedAt + 59_000), undefined)
  t.match(fake.body.findFault(fake.startedAt + 62_000), { code: 'limit_slow_body' })
})

t.test('finds no fault with a body that is slow but above the rate', async (t) => {
  const fake = await bodyFor(t)
  await receive(fake, RATE * 3_600)
  t.equal(fake.body.findFault(fake.startedAt + 3_500_000), undefined)
})

t.test('finds silence before the grace is over', async (t) => {
  const fake = await bodyFor(t, { idleMs: 500 })
  await receive(fake, 1_000_000)
  t.equal(fake.body.findFault(fake.body.progressAt + 400), undefined)
  t.match(fake.body.findFault(fake.body.progressAt + 600), { code: 'limit_slow_body' })
})

t.test('does not blame the client while the VM takes nothing', async (t) => {
  const fake = await bodyFor(t, { idleMs: 500, isUpstreamFull: true })
  await receive(fake, 10)
  t.equal(fake.body.findFault(fake.startedAt + 600_000), undefined)
})

t.test('starts the clock when the body may come, not when the head came', async (t) => {
  const fake = await bodyFor(t, { idleMs: 500, expectsContinue: true })
  t.equal(fake.body.findFault(fake.startedAt + 600_000), undefined, 'nobody has asked for the body yet')
  fake.body.allow()
  t.match(fake.body.findFault(performance.now() + 600), { code: 'limit_slow_body' })
})

/** A body that waits for an hour for a VM that takes nothing, and has just been told that the VM takes bytes again. */
async function resumedBodyFor(t: Test, options: { readonly idleMs?: number }): Promise<Fake> {
  const fake = await bodyFor(t, { ...options, isUpstreamFull: true })
  await receive(fake, 1_000)
  const { now } = performance
  t.teardown(() => {
    performance.now = now
  })
  performance.now = () => now.call(performance) + 3_600_000
  fake.body.resume()
  return fake
}

t.test('gives the client its time again once the VM takes bytes again', async (t) => {
  const fake = await resumedBodyFor(t, { idleMs: 500 })
  t.equal(fake.body.findFault(performance.now() + 100), undefined)
  t.match(fake.body.findFault(performance.now() + 600), { code: 'limit_slow_body' })
})

t.test('does not count the time in which the VM took nothing against the rate', async (t) => {
  const fake = await resumedBodyFor(t, {})
  t.equal(fake.body.findFault(performance.now() + 1_000), undefined)
})
