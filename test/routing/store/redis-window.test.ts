/** The stretch of the feed in memory: without a gap, within its limits, of one history. */

import t from 'tap'
import type { FeedEntry } from '../../../routing/store/redis-rows.ts'
import { FeedWindow } from '../../../routing/store/redis-window.ts'

const LIMITS = { entries: 4, characters: 1_000 }

/** Entries `from` to `to`; each has its revision as mark, and names the one before. */
function entriesOf(from: number, to: number, size = 10): FeedEntry[] {
  return Array.from({ length: to - from + 1 }, (_, index) => {
    const revision = from + index
    return {
      revision,
      mark: `m${revision}`,
      before: `${revision - 1}:m${revision - 1}`,
      change: undefined,
      size,
    }
  })
}

function placeOf(revision: number) {
  return { revision, mark: `m${revision}` }
}

function revisionsOf(found: ReturnType<FeedWindow['after']>) {
  return typeof found === 'string' ? found : found.map(({ revision }) => revision)
}

t.test('gives what follows a place', async (t) => {
  const window = new FeedWindow(placeOf(5), LIMITS)
  t.ok(window.add(entriesOf(6, 7)))
  t.ok(window.add(entriesOf(8, 9)))
  t.strictSame(revisionsOf(window.after(placeOf(5), 9)), [6, 7, 8, 9])
  t.strictSame(revisionsOf(window.after(placeOf(7), 1)), [8])
  t.strictSame(revisionsOf(window.after(placeOf(9), 9)), [])
  t.strictSame(revisionsOf(window.after(placeOf(12), 9)), [], 'ahead of it')
  t.strictSame(revisionsOf(window.after({ revision: 7 }, 9)), [8, 9], 'without a mark')
  t.equal(revisionsOf(window.after(placeOf(4), 9)), 'older')
})

t.test('tells another history by its marks', async (t) => {
  const window = new FeedWindow(placeOf(5), LIMITS)
  window.add(entriesOf(6, 8))
  for (const revision of [5, 6, 8]) {
    t.equal(revisionsOf(window.after({ revision, mark: 'other' }, 9)), 'elsewhere', `at ${revision}`)
  }
})

t.test('takes only what goes on where it ends', async (t) => {
  const window = new FeedWindow(placeOf(5), LIMITS)
  t.notOk(window.add(entriesOf(7, 8)), 'a gap')
  t.notOk(window.add(entriesOf(6, 6).map((entry) => ({ ...entry, before: '5:other' }))), 'another history')
  t.notOk(window.add([...entriesOf(6, 6), ...entriesOf(8, 8)]), 'a gap within')
  t.strictSame(window.end, placeOf(5))
  t.ok(
    window.add([{ revision: 9, mark: '', before: undefined, change: undefined, size: 0 }]),
    'a foreign entry',
  )
})

t.test('has a hole where revisions were skipped', async (t) => {
  const window = new FeedWindow(placeOf(5), LIMITS)
  window.add([{ revision: 20, mark: 'm20', before: '5:m5', change: undefined, size: 0 }])
  t.equal(revisionsOf(window.after({ revision: 12 }, 9)), 'elsewhere')
  t.strictSame(revisionsOf(window.after({ revision: 5 }, 9)), [20])
})

t.test('keeps within its limits, of entries and of characters', async (t) => {
  const window = new FeedWindow(placeOf(0), LIMITS)
  for (let revision = 1; revision <= 100; revision += 1) {
    window.add(entriesOf(revision, revision))
    const kept = [...Array(revision + 1).keys()].filter((at) => window.after(placeOf(at), 1) !== 'older')
    if (kept.length > 7) t.fail(`${kept.length} places after ${revision}`)
  }
  t.strictSame(revisionsOf(window.after(placeOf(98), 9)), [99, 100])
  const heavy = new FeedWindow(placeOf(0), LIMITS)
  heavy.add(entriesOf(1, 3, 600))
  t.equal(revisionsOf(heavy.after(placeOf(1), 9)), 'older')
  t.strictSame(revisionsOf(heavy.after(placeOf(2), 9)), [3])
  heavy.add(entriesOf(4, 4, 5_000))
  t.strictSame(revisionsOf(heavy.after(placeOf(4), 9)), [], 'a single one above the limit is not kept')
})
