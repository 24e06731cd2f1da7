/** Which addresses are public: what embeds a private one is not. */

import t from 'tap'
import { isPublicAddress } from '../../../acme/ocsp/public-address.ts'

t.test('addresses of the public Internet', (t) => {
  for (const address of ['8.8.8.8', '1.1.1.1', '100.63.255.255', '172.32.0.1', '223.255.255.255'])
    t.ok(isPublicAddress(address), address)
  for (const address of ['2606:4700::1', '2a00:1450:4001::1', '2001:4860:4860::8888'])
    t.ok(isPublicAddress(address), address)
  t.end()
})

t.test('addresses that are anything else', (t) => {
  const ipv4 = ['0.0.0.0', '10.0.0.1', '100.64.0.1', '127.0.0.1', '169.254.169.254', '172.31.255.255']
  for (const address of [...ipv4, '192.0.2.1', '192.168.1.1', '198.18.0.1', '224.0.0.1', '255.255.255.255'])
    t.notOk(isPublicAddress(address), address)
  const embedded = ['::ffff:127.0.0.1', '::ffff:8.8.8.8', '::7f00:1', '64:ff9b::a00:1', '2002:a00:1::1']
  for (const address of [...embedded, '::', '::1', 'fc00::1', 'fe80::1', 'ff02::1', '2001:db8::1'])
    t.notOk(isPublicAddress(address), address)
  t.end()
})
