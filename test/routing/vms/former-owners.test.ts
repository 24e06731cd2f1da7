/** Marks of whose a VM's name was: against whom they count, for how long, and what becomes of several. */

import t, { type Test } from 'tap'
import { toMutations } from '../../../routing/records/edits.ts'
import { startMemoryStore } from '../../../routing/store/memory-store.ts'
import { planFormerOwner, readNamePast } from '../../../routing/vms/former-owners.ts'

const DAY_MS = 86_400_000
const START = Date.parse('2026-01-31T12:00:00Z')
const KEY = 'former-owner/a'

function dayOf(day: number): Date {
  return new Date(START + day * DAY_MS)
}

async function bedFor(t: Test) {
  const store = await startMemoryStore()
  t.teardown(() => store[Symbol.asyncDispose]())
  const buy = async (name: string, day: number) => {
    const createdAt = dayOf(day).toISOString()
    await store.put(`pool/${name}`, { name, cpuMillis: 100, memoryBytes: 1, diskBytes: 1, createdAt })
  }
  for (const name of ['web', 'lab', 'dev']) await buy(name, 0)
  const leave = async (pool: string | undefined, day: number) => {
    await store.commit(toMutations([await planFormerOwner(store, { vm: 'a', pool, now: dayOf(day) })]))
  }
  const isPassedOn = async (pool: string | undefined, day: number) =>
    (await readNamePast(store, { vm: 'a', pool, now: dayOf(day) })).isPassedOn
  return { store, buy, leave, isPassedOn }
}

t.test('counts for 90 days, against every pool but its own', async (t) => {
  const { store, leave, isPassedOn } = await bedFor(t)
  t.notOk(await isPassedOn('lab', 1), 'nobody had it')
  await leave('web', 1)
  const [at, expiresAt] = [dayOf(1).toISOString(), dayOf(91).toISOString()]
  t.strictSame({ ...(await store.get(KEY))?.value }, { vm: 'a', pool: 'web', at, expiresAt })
  t.notOk(await isPassedOn('web', 1))
  t.ok(await isPassedOn('lab', 1))
  t.ok(await isPassedOn(undefined, 1))
  t.ok(await isPassedOn('lab', 90.9))
  t.notOk(await isPassedOn('lab', 91))
})

t.test('a second pool that leaves does not make the first one forgotten', async (t) => {
  const { store, leave, isPassedOn } = await bedFor(t)
  await leave('web', 1)
  await leave('web', 2)
  t.match((await store.get(KEY))?.value, { pool: 'web' }, 'the same one twice is one')
  await leave('lab', 3)
  for (const pool of ['web', 'lab', 'dev']) t.ok(await isPassedOn(pool, 4), pool)
  await leave('web', 5)
  for (const pool of ['web', 'lab', 'dev']) t.ok(await isPassedOn(pool, 6), pool)
  t.equal((await store.list('former-owner/')).documents.length, 1)
  await leave('dev', 95)
  t.notOk(await isPassedOn('dev', 96), 'the mark of the others had run out')
})

t.test('a pool that was bought anew is another one', async (t) => {
  const { store, buy, leave, isPassedOn } = await bedFor(t)
  await leave('web', 1)
  await store.delete('pool/web')
  t.ok(await isPassedOn('web', 2))
  await buy('web', 3)
  t.ok(await isPassedOn('web', 4))
  await leave('web', 5)
  t.ok(await isPassedOn('web', 6), 'nor does it get the CNAMEs of the first one so')
})

t.test('what is not known or cannot be read counts against everybody', async (t) => {
  const { store, leave, isPassedOn } = await bedFor(t)
  await leave(undefined, 1)
  t.ok(await isPassedOn('web', 2))
  await store.put(KEY, { vm: 'a', pool: 'web' })
  t.ok(await isPassedOn('web', 2))
  await leave('web', 3)
  t.notOk('pool' in ((await store.get(KEY))?.value ?? {}))
})

t.test('a commit that holds the pin fails when a mark came or changed', async (t) => {
  const { store, leave } = await bedFor(t)
  const pinOf = async () => (await readNamePast(store, { vm: 'a', pool: 'web', now: dayOf(1) })).pin
  for (const day of [1, 2]) {
    const pin = await pinOf()
    await store.commit([...toMutations([pin]), { key: `done/${day}`, value: {} }])
    await leave('lab', day)
    await t.rejects(store.commit([...toMutations([pin]), { key: 'late', value: {} }]), {
      code: 'api_revision_conflict',
    })
  }
  t.equal(await store.get('late'), undefined)
})
