/**
 * A host starts four VMs at once. The attacker's VMs never come up: he has put a pipe where their init reads a file, so
 * that each start takes the whole minute that it may, and is tried again. With a dozen of them every place is his, and
 * nobody else's VM starts or wakes. A place is kept for ten seconds, and goes to the pool that has the fewest.
 */

import t from 'tap'
import { limitStarts } from '../../sidecar/start-limit.ts'
import { until } from '../helpers/until.ts'
import { FakeVmm } from '../sidecar/fake-vms.ts'
import { wanted } from '../sidecar/keepers.ts'

const never = Promise.withResolvers<never>().promise

function limitFor(isStuck: (name: string) => boolean, placeMs: number) {
  const vmm = new FakeVmm()
  const begun: string[] = []
  const { start } = limitStarts(
    {
      start: (spec) => {
        begun.push(spec.name)
        return isStuck(spec.name) ? never : vmm.start(spec)
      },
    },
    { atOnce: 4, placeMs },
  )
  const startAll = (names: readonly string[], pool: string) =>
    Promise.all(names.map((name) => start(wanted(name, { pool })).catch(() => undefined)))
  return { begun, startAll }
}

const namesOf = (word: string, count: number) => Array.from({ length: count }, (_, at) => `${word}${at}`)

t.test('starts that never end hold up others for as long as a place is kept', async (t) => {
  const { begun, startAll } = limitFor((name) => name.startsWith('evil'), 100)
  void startAll(namesOf('evil', 40), 'evil')
  await until(() => begun.length === 4, 'every place is taken')
  const victims = startAll(['victim'], 'victim')
  await until(() => begun.includes('victim'), 'the victim starts')
  const before = begun.indexOf('victim')
  t.ok(before < 8, `after ${before} of the attacker's`)
  await victims
})

t.test('the pool with the fewest starts under way comes next', async (t) => {
  const { begun, startAll } = limitFor(() => true, 200)
  void startAll(namesOf('evil', 40), 'evil')
  void startAll(namesOf('victim', 2), 'victim')
  void startAll(['third'], 'third')
  await until(() => begun.length >= 6, 'places come free')
  t.same(begun.slice(4, 6), ['victim0', 'third'])
})
