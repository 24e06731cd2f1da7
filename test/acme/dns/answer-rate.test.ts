/** Each part of the internet gets its share of answers, whatever the others do, and memory stays as it is. */

import t from 'tap'
import { createAnswerRate, toPrefix } from '../../../acme/dns/answer-rate.ts'

t.test('counts by /24 and /56', async (t) => {
  const cases = [
    ['192.0.2.1', '192.0.2'],
    ['192.0.2.255', '192.0.2'],
    ['::ffff:192.0.2.1', '192.0.2'],
    ['2001:db8:1:2ff::1', '2001:db8:1:2'],
    ['2001:db8:1:200:5:6:7:8', '2001:db8:1:2'],
    ['2001:db8::1', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['::', '0:0:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['2001:db8:1:ab00::', '2001:db8:1:ab'],
  ] as const
  for (const [address, prefix] of cases) t.equal(toPrefix(address), prefix, address)
})

t.test(
  'answers up to the burst, then every second one is sent to TCP, and the tokens come back',
  async (t) => {
    let now = 1_000
    const rate = createAnswerRate({ answersPerSecond: 10, burst: 5, now: () => now })
    const ask = (count: number) => Array.from({ length: count }, () => rate.judge('192.0.2.1'))
    t.strictSame(ask(9), [...new Array(5).fill('answer'), 'drop', 'truncate', 'drop', 'truncate'])
    now += 200
    t.strictSame(ask(3), ['answer', 'answer', 'drop'])
    now += 3_600_000
    t.strictSame(ask(6).slice(4), ['answer', 'truncate'], 'never more than the burst')
  },
)

t.test('every address is counted, whatever its slot', async (t) => {
  for (let round = 0; round < 20; round++) {
    const rate = createAnswerRate({ answersPerSecond: 1, burst: 50, now: () => 0 })
    for (let index = 0; index < 256; index++) t.equal(rate.judge(`10.${index}.7.1`), 'answer')
  }
})

t.test('a flood from all prefixes costs no memory', async (t) => {
  const rate = createAnswerRate({ answersPerSecond: 1, burst: 1, now: () => 0 })
  const judge = () => {
    for (let index = 0; index < 200_000; index++)
      rate.judge(`${index & 255}.${(index >> 8) & 255}.${index >> 16}.1`)
  }
  judge()
  globalThis.gc?.()
  const before = process.memoryUsage().arrayBuffers
  judge()
  t.equal(process.memoryUsage().arrayBuffers, before)
})
