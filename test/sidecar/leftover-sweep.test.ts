/** What is left of others' VMs ends when the table is known, and not on the word of an empty table. */

import t, { type Test } from 'tap'
import { SweepGate, startSweep } from '../../sidecar/leftover-sweep.ts'
import type { VmId } from '../../sidecar/vm-id.ts'
import { until } from '../helpers/until.ts'
import { listLog } from './vms.ts'

const ONE: VmId = { name: 'one', createdAt: '2026-01-31T12:00:00Z' }

function sweepFor(t: Test, known: readonly VmId[]) {
  const state = { isLoaded: false, looks: 0, hasGraves: false }
  const swept: (readonly VmId[])[] = []
  const sweep = startSweep({
    isLoaded: () => {
      state.looks += 1
      return state.isLoaded
    },
    listKnown: () => known,
    hasGraves: () => state.hasGraves,
    sweep: async (names) => void swept.push(names),
    log: listLog().log,
  })
  t.teardown(() => sweep[Symbol.asyncDispose]())
  return { state, swept, sweep }
}

t.test('waits for the table, and sweeps once', async (t) => {
  const { state, swept } = sweepFor(t, [ONE])
  await until(() => state.looks >= 2, 'it has looked')
  t.same(swept, [])
  state.isLoaded = true
  await until(() => swept.length === 1, 'it was swept')
  t.same(swept, [[ONE]])
})

t.test('ends nothing when the table knows of nothing here', async (t) => {
  const { state, swept, sweep } = sweepFor(t, [])
  state.isLoaded = true
  await until(() => state.looks >= 1, 'it has looked')
  await sweep[Symbol.asyncDispose]()
  t.same(swept, [])
})

t.test('ends in time though the table never comes', async (t) => {
  const { sweep, swept } = sweepFor(t, [ONE])
  await sweep[Symbol.asyncDispose]()
  t.same(swept, [])
})

t.test('ends the last VM of a host that was deleted while no sidecar ran', async (t) => {
  const { state, swept } = sweepFor(t, [])
  state.hasGraves = true
  state.isLoaded = true
  await until(() => swept.length === 1, 'it was swept')
  t.same(swept, [[]])
})

t.test('keeps back what comes to be known during a sweep, and nothing else', async (t) => {
  const gate = new SweepGate()
  const sweep = Promise.withResolvers<void>()
  const passed: string[] = []
  const pass = (name: string) =>
    void gate.pass({ name, createdAt: ONE.createdAt }).then(() => passed.push(name))
  const swept = gate.run([ONE], () => sweep.promise)
  for (const name of ['two', 'one']) pass(name)
  await new Promise(setImmediate)
  t.same(passed, ['one'])
  sweep.reject(new Error('a group is busy'))
  await t.rejects(swept, /busy/)
  t.same(passed, ['one', 'two'])
  pass('three')
  await new Promise(setImmediate)
  t.same(passed, ['one', 'two', 'three'])
})
