/** Which of a machine's name servers its guests can use. */

import { join } from 'node:path'
import t from 'tap'
import { findNameServer } from '../../../sidecar/network/name-server.ts'

t.test('takes the first that is neither loopback nor IPv6, of the first file that has one', async (t) => {
  const folder = t.testdir({
    loopback: 'nameserver 127.0.0.53\noptions edns0\n',
    real: '# nameserver 198.51.100.1\nnameserver ::1\nnameserver 127.0.0.1\nnameserver 198.51.100.2\nnameserver 198.51.100.3\n',
  })
  const find = (...names: string[]) => findNameServer(names.map((name) => join(folder, name)))
  t.equal(await find('real'), '198.51.100.2')
  t.equal(await find('missing', 'loopback', 'real'), '198.51.100.2')
  t.equal(await find('loopback'), undefined)
  t.equal(await find('missing'), undefined)
})
