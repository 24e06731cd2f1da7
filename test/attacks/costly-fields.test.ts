/**
 * One request head of 32 kB that is costly to read: thousands of Connection tokens beside thousands of fields, or
 * a quoted text in CDN-Loop that never ends. Where the cost grows with the product or the square of what the client
 * sends, ten such requests a second stop the whole edge. Reading them must cost about as much as their length.
 */

import t from 'tap'
import type { Exchange } from '../../proxy/exchange.ts'
import { checkLoop } from '../../proxy/forwarding.ts'
import { readRequestFields } from '../../proxy/request-fields.ts'

/** Of the processor; the slow ways took 1,148 ms and 324 ms. */
const BOUND_MS = 100

function millisecondsOf(work: () => void): number {
  const before = process.threadCpuUsage()
  work()
  return process.threadCpuUsage(before).user / 1_000
}

t.test('thousands of Connection tokens beside thousands of fields are read in passing', async (t) => {
  const tokens = Array.from({ length: 8_000 }, (_, at) => `a${at % 7}`)
  const many = Array.from({ length: 3_000 }, (_, at) => [`x${at}`, '']).flat()
  const rawHeaders = ['Connection', tokens.join(','), ...many, 'a3', 'for this hop', 'b', 'for all']
  let kept = ''
  const ms = millisecondsOf(() => {
    kept = readRequestFields(rawHeaders).kept
  })
  t.ok(ms < BOUND_MS, `${ms} ms`)
  t.match(kept, /\r\nb: for all\r\n$/)
  t.notMatch(kept, 'for this hop')
})

t.test('a quoted text in CDN-Loop that never ends is read in passing', async (t) => {
  const cdnLoop = `other; note="${'\\"'.repeat(16_000)}`
  const exchange = { fields: { cdnLoop } } as Exchange
  const ms = millisecondsOf(() => checkLoop(exchange, 'localhost'))
  t.ok(ms < BOUND_MS, `${ms} ms`)
})
