/**
 * A tenant may make a hundred snapshots of a VM, and each restore keeps another one by itself. He restores a VM that is
 * stopped again and again: each time a record in the store, and a layer on the disk of the host, until both are full.
 * At a hundred that restores kept he has to delete some.
 */

import t from 'tap'
import { putKeptSnapshot, putSnapshotReport } from '../../routing/vms/snapshot-reports.ts'
import { vmApiFor } from '../routing/api/vm-client.ts'

const VM = '/v1/vms/a'
const TAKEN = { takenAt: '2026-01-31T12:00:00Z', bytes: 7 }
const MOST = 100

t.test('nobody restores a VM more often than its snapshots are cleared away', async (t) => {
  const {
    call,
    store,
    web: token,
  } = await vmApiFor(t, { table: { revision: 1_000_000, status: () => ({}) } })
  const { json } = await call('PUT', VM, { body: { pool: 'web', state: 'stopped' } })
  const vmCreatedAt = String(json.createdAt)
  const { id } = (await call('POST', `${VM}/snapshots`, { token, body: {} })).json
  const snapshot = String(id)
  await putSnapshotReport(store, { vm: 'a', vmCreatedAt, id: snapshot, state: 'ready', ...TAKEN })
  for (let at = 0; at < MOST; at += 1) {
    await putKeptSnapshot(store, { vm: 'a', vmCreatedAt, id: `kept-${at}`, ...TAKEN })
  }
  const restore = () => call('POST', `${VM}/restore`, { token, body: { snapshot } })
  t.match(await restore(), { status: 422, json: { detail: /100 snapshots that restores kept/ } })
  t.equal((await call('DELETE', `${VM}/snapshots/kept-0`, { token })).status, 204)
  t.equal((await restore()).status, 202)
})
