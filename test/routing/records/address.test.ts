/** Addresses as people write them, to and from records. */

import t from 'tap'
import { formatAddress, toAddress } from '../../../routing/records/address.ts'

t.test('reads addresses as people write them, and writes them back', async (t) => {
  const cases = {
    '127.0.0.1:9000': { host: '127.0.0.1', port: 9_000 },
    '[::1]:9000': { host: '::1', port: 9_000 },
    '[2001:db8::a]:1': { host: '2001:db8::a', port: 1 },
    'localhost:65535': { host: 'localhost', port: 65_535 },
    'app.internal:80': { host: 'app.internal', port: 80 },
  }
  for (const [text, address] of Object.entries(cases)) {
    t.strictSame(toAddress(text), address)
    t.equal(formatAddress(address), text)
  }
  t.strictSame(toAddress('[2001:DB8::A]:1'), { host: '2001:db8::a', port: 1 })
  t.strictSame(toAddress('App.Internal:80'), { host: 'app.internal', port: 80 })
})

t.test('finds no address in anything else', async (t) => {
  const texts = [
    '',
    ':80',
    '127.0.0.1',
    '127.0.0.1:',
    '127.0.0.1:0',
    '127.0.0.1:080',
    '127.0.0.1:65536',
    '::1:80',
  ]
  const more = [
    '[::1]',
    '[127.0.0.1]:80',
    '[::1%lo]:80',
    '127.1:80',
    '1.2.3.256:80',
    'a_b:80',
    'http://a:80',
    'a:80/',
    'a:1e3',
  ]
  for (const text of [...texts, ...more]) t.equal(toAddress(text), undefined, text)
})
