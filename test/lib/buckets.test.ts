/** Token buckets: how many at once, how many for long, and which names are forgotten. */

import t from 'tap'
import { Buckets } from '../../lib/buckets.ts'

function bucketsOf(settings: {
  readonly capacity: number
  readonly perSecond: number
  readonly maxNames?: number
}) {
  const clock = { ms: 1_000 }
  return { clock, buckets: new Buckets({ ...settings, now: () => clock.ms }) }
}

t.test('gives so many at once, and then as many as come back', (t) => {
  const { clock, buckets } = bucketsOf({ capacity: 3, perSecond: 2 })
  t.same(
    [1, 2, 3, 4].map(() => buckets.take('a')),
    [true, true, true, false],
  )
  t.ok(buckets.take('b'), 'each name has its own')
  clock.ms += 499
  t.notOk(buckets.take('a'))
  clock.ms += 1
  t.ok(buckets.take('a'))
  t.notOk(buckets.take('a'))
  clock.ms += 3_600_000
  t.same(
    [1, 2, 3, 4].map(() => buckets.take('a')),
    [true, true, true, false],
    'and never more at once',
  )
  t.end()
})

t.test('says how long to wait, and that takes nothing', (t) => {
  const { clock, buckets } = bucketsOf({ capacity: 1, perSecond: 1 / 3_600 })
  t.equal(buckets.waitMs('a'), 0)
  t.ok(buckets.take('a'))
  t.equal(buckets.waitMs('a'), 3_600_000)
  clock.ms += 3_599_999
  t.equal(buckets.waitMs('a'), 1)
  t.notOk(buckets.take('a'))
  clock.ms += buckets.waitMs('a')
  t.equal(buckets.waitMs('a'), 0)
  t.ok(buckets.take('a'))
  t.end()
})

t.test('has back what was not used, and not more than there was', (t) => {
  const { buckets } = bucketsOf({ capacity: 1, perSecond: 0 })
  buckets.giveBack('a')
  t.ok(buckets.take('a'))
  t.notOk(buckets.take('a'))
  buckets.giveBack('a')
  t.ok(buckets.take('a'))
  t.end()
})

t.test('forgets the name that was not used for the longest', (t) => {
  const { buckets } = bucketsOf({ capacity: 1, perSecond: 0, maxNames: 2 })
  buckets.take('old')
  buckets.take('young')
  buckets.take('old')
  buckets.take('new')
  t.notOk(buckets.take('old'))
  t.ok(buckets.take('young'))
  t.end()
})

t.test('a clock that goes back takes nothing away', (t) => {
  const { clock, buckets } = bucketsOf({ capacity: 2, perSecond: 1 })
  buckets.take('a')
  clock.ms -= 60_000
  t.ok(buckets.take('a'))
  t.end()
})
