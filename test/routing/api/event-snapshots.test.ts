/** Events of snapshots: those of the reader's VMs, and their end with the VM's. */

import t from 'tap'
import { apiFor } from './api-client.ts'
import { eventsFor } from './event-reader.ts'
import { deleteVm, putVm } from './event-records.ts'
import { putPool, scopedTokenFor } from './pools-and-tokens.ts'

const AT = '2026-01-01T00:00:00Z'

t.test('who may read the pool is told of its snapshots, and of no other', async (t) => {
  const client = await apiFor(t)
  const { store } = client
  await putPool(client, 'mine')
  const { token } = await scopedTokenFor(client, [{ pool: 'mine', verbs: ['read'] }])
  await putVm(store, 'a', 'mine')
  await putVm(store, 'b', 'other')
  const reader = await eventsFor(t, client, { token })
  for (const vm of ['b', 'a']) {
    const record = { id: 's', vm, vmCreatedAt: AT, pool: 'p', kind: 'made', state: 'wanted', createdAt: AT }
    await store.put(`snapshot/${vm}/s`, record)
  }
  for (const vm of ['b', 'a']) await deleteVm(store, vm, [`snapshot/${vm}/s`])
  await store.put('pool/mine', { ...(await store.get('pool/mine'))?.value, cpuMillis: 1_001 })
  await reader.has(5)
  t.strictSame(reader.told(), [
    'snapshot put a/s',
    'vm delete a',
    'snapshot delete a/s',
    'route delete a.example.test',
    'pool put mine',
  ])
  t.match(reader.text, '"state":"wanted"')
})
