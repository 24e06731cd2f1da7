/** Texts that name a place in a network, right and wrong ones. */

import t from 'tap'
import {
  isAddress,
  isHostnameText,
  isLabelText,
  isRange,
  parseEndpoint,
  toServerText,
} from '../../lib/address-text.ts'

t.test('an endpoint is an address with or without a port', (t) => {
  t.same(parseEndpoint('192.0.2.1', 53), { host: '192.0.2.1', port: 53 })
  t.same(parseEndpoint('192.0.2.1:5353', 53), { host: '192.0.2.1', port: 5353 })
  t.same(parseEndpoint('192.0.2.1:0', 53), { host: '192.0.2.1', port: 0 })
  t.same(parseEndpoint('2001:db8::1', 53), { host: '2001:db8::1', port: 53 })
  t.same(parseEndpoint('[2001:db8::1]', 53), { host: '2001:db8::1', port: 53 })
  t.same(parseEndpoint('[2001:db8::1]:5353', 53), { host: '2001:db8::1', port: 5353 })
  t.end()
})

t.test('whatever else is none', (t) => {
  const texts = [
    '',
    ':53',
    'ns.example.test',
    '192.0.2.1:',
    '192.0.2.1:65536',
    '192.0.2.256',
    '[192.0.2.1]:53',
  ]
  for (const text of [...texts, '[2001:db8::1', '2001:db8::g', '1.2.3.4:5:6', ' 192.0.2.1'])
    t.equal(parseEndpoint(text, 53), undefined, text)
  t.end()
})

t.test('host names are in lower case, and labels have no dot', (t) => {
  for (const text of ['a', 'a-b.example.test', 'xn--bcher-kva.test', '0.test'])
    t.ok(isHostnameText(text), text)
  for (const text of [
    '',
    'A.test',
    '-a.test',
    'a-.test',
    'a..test',
    '*.test',
    'a_b.test',
    `${'a'.repeat(64)}.test`,
  ])
    t.notOk(isHostnameText(text), text)
  t.ok(isLabelText('web'))
  t.notOk(isLabelText('web.test'))
  t.end()
})

t.test('a range is an address with or without a prefix', (t) => {
  for (const text of ['10.0.0.0/8', '192.0.2.1', '2001:db8::/32', '::1']) t.ok(isRange(text), text)
  for (const text of ['10.0.0.0/33', '2001:db8::/129', 'example.test', '', '10.0.0/8'])
    t.notOk(isRange(text), text)
  t.ok(isAddress('::1'))
  t.notOk(isAddress('10.0.0.0/8'))
  t.end()
})

t.test('an endpoint as resolvers take it', (t) => {
  for (const text of ['192.0.2.1:53', '[2001:db8::1]:5353'])
    t.equal(toServerText(parseEndpoint(text, 1) ?? { host: '', port: 0 }), text)
  t.end()
})
