/** Addresses in one form, and counts of the last hour. */

import t from 'tap'
import { toEmailAddress, toUserId } from '../../../../auth/email-address.ts'
import { RecentCounts } from '../../../../auth/login/methods/recent-counts.ts'
import { toClient } from '../../../../lib/client-address.ts'

t.test('brings addresses into one form', (t) => {
  for (const [text, expected] of [
    ['ann@example.test', 'ann@example.test'],
    ['Ann.Lee+x@EXAMPLE.test', 'ann.lee+x@example.test'],
    ['ann@example.test.', 'ann@example.test'],
    ['JÖRG@bücher.example', 'jörg@xn--bcher-kva.example'],
    ['jo\u0308rg@example.test', 'jörg@example.test'],
    ["o'neil@example.test", "o'neil@example.test"],
  ] as const) {
    t.equal(toEmailAddress(text), expected, text)
  }
  t.end()
})

t.test('takes no text that is more, or less, than an address', (t) => {
  for (const text of [
    '',
    'ann',
    'ann@',
    '@example.test',
    'ann@test',
    'ann@@example.test',
    'ann@b@example.test',
    '.ann@example.test',
    'ann.@example.test',
    'a..n@example.test',
    'ann @example.test',
    'ann@exam%70le.test',
    'ann@example.test/x',
    'ann@[192.0.2.1]',
    'ann@192.0.2.1',
    'ann@-example.test',
    'ann\u0000@example.test',
    'ann\u200b@example.test',
    'ann\u2028@example.test',
    '"ann"@example.test',
    'ann@example.test\n',
    'ann,bob@example.test',
    `${'a'.repeat(65)}@example.test`,
    `a@${'b'.repeat(60)}.${'b'.repeat(60)}.${'b'.repeat(60)}.${'b'.repeat(60)}.${'b'.repeat(20)}.test`,
  ]) {
    t.equal(toEmailAddress(text), undefined, encodeURI(text))
  }
  t.end()
})

t.test('two addresses never are one user', (t) => {
  t.equal(toUserId('ann@example.test'), 'ann@example.test')
  t.equal(toUserId('a%c3%bc@example.test'), 'a%c3%bc@example.test')
  t.equal(toUserId('aü@example.test'), 'a%C3%BC@example.test')
  t.equal(toUserId('ü%25@example.test'), '%C3%BC%2525@example.test')
  t.equal(toUserId(`${'ü'.repeat(64)}@example.test`), undefined, 'too long for an id')
  t.end()
})

t.test('counts what happened within the last hour', (t) => {
  let nowMs = 0
  const counts = new RecentCounts({ perHour: 2, now: () => nowMs })
  counts.add('a')
  nowMs = 1_800_000
  counts.add('a')
  t.equal(counts.isFull('a'), true)
  t.equal(counts.isFull('b'), false)
  nowMs = 3_600_000
  t.equal(counts.isFull('a'), false, 'the first is an hour old')
  counts.add('a')
  t.equal(counts.isFull('a'), true)
  counts.remove('a')
  t.equal(counts.isFull('a'), false)
  t.end()
})

t.test('forgets the oldest rather than grow without end', (t) => {
  const counts = new RecentCounts({ perHour: 1, now: () => 0 })
  for (let key = 0; key < 50_000; key += 1) counts.add(String(key))
  t.equal(counts.isFull('49999'), true)
  t.equal(counts.isFull('0'), false)
  t.end()
})

t.test('takes a network of IPv6 for one client', (t) => {
  for (const [address, expected] of [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:DB8:0:1:2:3:4:5', '2001:db8:0:1'],
    ['2001:db8::5', '2001:db8:0:0'],
    ['2001:0db8:0000:0001::', '2001:db8:0:1'],
    ['::1', '0:0:0:0'],
    ['no address', 'no address'],
  ] as const) {
    t.equal(toClient(address), expected, address)
  }
  t.end()
})
