/** The key of a VM: two VMs never share one, and no name leads out of the folder. */

import t from 'tap'
import { keyOfVm } from '../../sidecar/vm-id.ts'

const CREATED_AT = '2026-01-31T12:00:00.123Z'

t.test('is made of the name and the moment', async (t) => {
  t.equal(keyOfVm({ name: 'one', createdAt: CREATED_AT }), 'one-20260131T120000123Z')
  t.not(keyOfVm({ name: 'one-1', createdAt: CREATED_AT }), keyOfVm({ name: 'one', createdAt: CREATED_AT }))
})

t.test('refuses names that are no DNS label', async (t) => {
  for (const name of ['', '.', '..', '../up', 'a/b', 'A', 'a_b', '-a', 'a'.repeat(64), 'a\0']) {
    t.throws(() => keyOfVm({ name, createdAt: CREATED_AT }), { code: 'vm_name' }, JSON.stringify(name))
  }
})
