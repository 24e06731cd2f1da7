/** The cgroups of pools follow the table: limits first, groups gone with their pool, and back with it. */

import t, { type Test } from 'tap'
import { type HostedPool, PoolBook } from '../../sidecar/pool-book.ts'
import { until } from '../helpers/until.ts'
import { listLog } from './vms.ts'

const POOL: HostedPool = { name: 'one', cpuMillis: 1_000, memoryBytes: 2 ** 30, diskBytes: 2 ** 30 }

function bookFor(t: Test, removal = { tries: 50, pauseMs: 5 }) {
  const groups = new Set<string>()
  const state = { isBusy: false, removals: 0, gate: Promise.resolve() }
  const { log, lines } = listLog()
  const book = new PoolBook(
    {
      groups: {
        setPool: async (name) => void groups.add(name),
        removePool: async (name) => {
          state.removals += 1
          await state.gate
          if (state.isBusy) throw new Error('EBUSY')
          groups.delete(name)
        },
      },
      log,
    },
    removal,
  )
  t.teardown(() => book[Symbol.asyncDispose]())
  return { book, groups, state, lines }
}

t.test('keeps the group of a pool that goes and comes back at once', async (t) => {
  const { book, groups, state } = bookFor(t)
  book.set(POOL)
  await book.attempted('one')
  const gate = Promise.withResolvers<void>()
  state.gate = gate.promise
  book.drop('one')
  await until(() => state.removals === 1, 'its removal is under way')
  book.set(POOL)
  setImmediate(gate.resolve)
  await book.attempted('one')
  for (let turn = 0; turn < 3; turn += 1) await new Promise(setImmediate)
  t.ok(groups.has('one'), 'a VM that starts now finds it')
  t.equal(book.find('one')?.name, 'one')
})

t.test('removes the group when the VMs that were in it are out', async (t) => {
  const { book, groups, state } = bookFor(t)
  book.set(POOL)
  await book.attempted('one')
  state.isBusy = true
  book.drop('one')
  await until(() => state.removals === 3, 'it was tried')
  t.ok(groups.has('one'))
  state.isBusy = false
  await until(() => !groups.has('one'), 'it is gone')
})

t.test('does not let a pool that comes back wait for further tries, nor its own end', async (t) => {
  const { book, state, lines } = bookFor(t, { tries: 5, pauseMs: 60_000 })
  book.set(POOL)
  await book.attempted('one')
  state.isBusy = true
  book.drop('one')
  await until(() => state.removals === 1, 'it was tried')
  book.set(POOL)
  await book.attempted('one')
  book.drop('one')
  await until(() => state.removals === 2, 'it was tried')
  await book[Symbol.asyncDispose]()
  t.match(lines, [{ level: 'warn', pool: 'one' }])
})
