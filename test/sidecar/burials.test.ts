/** What was deleted goes when its grace is over: not before, once, and never while it still runs. */

import t, { type Test } from 'tap'
import { type BurialSettings, type Grave, startBurials } from '../../sidecar/burials.ts'
import { keyOfVm, type VmId } from '../../sidecar/vm-id.ts'
import { until } from '../helpers/until.ts'
import { listLog } from './vms.ts'

const HOUR_MS = 3_600_000
const MADE_AT = '2026-01-31T12:00:00Z'

function graveOf(vm: string, more: Partial<Grave> = {}): Grave {
  return {
    vm,
    vmCreatedAt: MADE_AT,
    pool: 'default',
    deletedAt: new Date(Date.now() - HOUR_MS).toISOString(),
    ...more,
  }
}

function burialsFor(t: Test, settings: Partial<BurialSettings> = {}) {
  const done: string[] = []
  const state = { kept: new Set<string>(), isShort: false, faults: 0 }
  const { log, lines } = listLog()
  const burials = startBurials(
    {
      isKept: ({ name }: VmId) => state.kept.has(name),
      remove: async ({ name }) => {
        if (state.faults > 0) {
          state.faults -= 1
          throw new Error('the disk is away')
        }
        done.push(`files of ${name}`)
      },
      deleteSnapshot: async ({ name }, id) => void done.push(`snapshot ${name} ${id}`),
      clear: async ({ vm }) => void done.push(`grave of ${vm}`),
      isShort: async () => state.isShort,
      log,
    },
    { graceMs: HOUR_MS / 2, lookMs: 10, ...settings },
  )
  t.teardown(() => burials[Symbol.asyncDispose]())
  return { burials, done, state, lines }
}

t.test('deletes files first and the grave after them, once', async (t) => {
  const { burials, done } = burialsFor(t)
  burials.bury(graveOf('one'))
  burials.bury(graveOf('one'))
  burials.bury(graveOf('two', { snapshot: 's1' }))
  await until(() => done.length === 4, 'both are done')
  t.same(done, ['files of one', 'grave of one', 'snapshot two s1', 'grave of two'])
})

t.test('waits for the end of the grace, unless the disk is short of room', async (t) => {
  const { burials, done, state } = burialsFor(t, { graceMs: 2 * HOUR_MS })
  burials.bury(graveOf('early'))
  burials.bury(graveOf('due', { deletedAt: new Date(Date.now() - 3 * HOUR_MS).toISOString() }))
  await until(() => done.length === 2, 'what is due is gone')
  t.same(done, ['files of due', 'grave of due'])
  state.isShort = true
  await until(() => done.length === 4, 'the rest is gone')
})

t.test('says what is deleted for as long as its files are there', async (t) => {
  const { burials, done, state } = burialsFor(t, { graceMs: 2 * HOUR_MS })
  const key = keyOfVm({ name: 'one', createdAt: MADE_AT })
  burials.bury(graveOf('one'))
  burials.bury(graveOf('two', { snapshot: 's1' }))
  t.ok(burials.has(key))
  const two = keyOfVm({ name: 'two', createdAt: MADE_AT })
  t.same([burials.has(two, 's1'), burials.has(two), burials.has(key, 's1')], [true, false, false])
  state.isShort = true
  await until(() => done.length === 4, 'both are gone')
  await until(() => !burials.has(key) && !burials.has(two, 's1'), 'they are forgotten')
})

t.test('does not touch a VM that is still being stopped', async (t) => {
  const { burials, done, state } = burialsFor(t)
  state.kept.add('one')
  burials.bury(graveOf('one'))
  burials.bury(graveOf('two'))
  await until(() => done.length === 2, 'the other is gone')
  t.same(done, ['files of two', 'grave of two'])
  state.kept.clear()
  await until(() => done.length === 4, 'it is gone, too')
})

t.test('tries again what failed', async (t) => {
  const { burials, done, state, lines } = burialsFor(t)
  state.faults = 2
  burials.bury(graveOf('one'))
  await until(() => done.length === 2, 'it is gone')
  t.equal(lines.filter(({ level }) => level === 'warn').length, 2)
})

t.test(
  'ends the grace of the pool that deleted most when the disk is short, and only as far as needed',
  async (t) => {
    const { burials, done, state } = burialsFor(t, { graceMs: 2 * HOUR_MS })
    const at = (minutes: number) => new Date(Date.now() - minutes * 60_000).toISOString()
    burials.bury(graveOf('other', { pool: 'quiet', deletedAt: at(50) }))
    burials.bury(graveOf('young', { pool: 'busy', deletedAt: at(10) }))
    burials.bury(graveOf('old', { pool: 'busy', deletedAt: at(20) }))
    Object.defineProperty(state, 'isShort', { get: () => done.length < 2 })
    await until(() => done.length === 2, 'there is room again')
    t.same(done, ['files of old', 'grave of old'])
  },
)
