/** Slots: one per VM, kept over restarts, never two alike. */

import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { MAX_SLOT, openSlots, uidOfSlot } from '../../sidecar/slots.ts'

const vm = (name: string, createdAt = '2026-01-31T12:00:00.123Z') => ({ name, createdAt })

t.test('a VM keeps its slot over restarts, and another one of its name has another', async (t) => {
  const folder = t.testdir()
  const slots = await openSlots(folder)
  t.equal(slots.find(vm('one')), undefined)
  t.equal(await slots.take(vm('one')), 1)
  t.equal(await slots.take(vm('one')), 1)
  t.equal(await slots.take(vm('one', '2026-02-01T00:00:00.000Z')), 2)
  const again = await openSlots(folder)
  t.equal(again.find(vm('one')), 1)
  t.equal(await again.take(vm('two')), 3)
  t.equal(uidOfSlot(3), 600_003)
})

t.test('no two have the same when many come at once, and all are on disk when they are told', async (t) => {
  const folder = t.testdir()
  const slots = await openSlots(folder)
  const names = Array.from({ length: 200 }, (_, at) => `vm${at}`)
  const taken = await Promise.all(names.map((name) => slots.take(vm(name))))
  t.equal(new Set(taken).size, names.length)
  const again = await openSlots(folder)
  t.same(
    names.map((name) => again.find(vm(name))),
    taken,
  )
  t.same(await readdir(folder), ['slots.json'], 'no draft is left')
  t.equal((await stat(join(folder, 'slots.json'))).mode & 0o777, 0o600)
})

t.test('a slot is given again only after it was given back, and then as the last of all', async (t) => {
  const folder = t.testdir()
  const slots = await openSlots(folder)
  for (const name of ['a', 'b', 'c']) await slots.take(vm(name))
  await slots.give(vm('b'))
  await slots.give(vm('b'))
  await slots.give(vm('never'))
  const again = await openSlots(folder)
  t.equal(await again.take(vm('d')), 4)
  await writeFile(
    join(folder, 'slots.json'),
    JSON.stringify({ version: 1, last: MAX_SLOT, slots: { 'a-1Z': 1 } }),
  )
  t.equal(await (await openSlots(folder)).take(vm('e')), 2)
})

t.test('a host whose slots are all taken says so', async (t) => {
  const all = Array.from({ length: MAX_SLOT }, (_, at) => [`v${at}-1Z`, at + 1] as const)
  const text = JSON.stringify({ version: 1, last: 5, slots: Object.fromEntries(all) })
  const slots = await openSlots(t.testdir({ 'slots.json': text }))
  await t.rejects(slots.take(vm('more')), { code: 'host_file_failed', message: /All 65000 slots/ })
})

t.test('a damaged file is refused with what is wrong, and left as it is', async (t) => {
  const cases = [
    ['', /not a file of slots/],
    ['{"version":1,"last":0,"slots":{"a-1Z":1', /not a file of slots/],
    ['{"version":2,"last":0,"slots":{}}', /not a file of slots in version 1/],
    ['{"version":1,"last":-1,"slots":{}}', /"last" is not a slot/],
    ['{"version":1,"last":0}', /has no "slots"/],
    ['{"version":1,"last":0,"slots":{"a-1Z":0}}', /slot of a-1Z is not a whole number/],
    ['{"version":1,"last":0,"slots":{"a-1Z":65001}}', /slot of a-1Z/],
    ['{"version":1,"last":0,"slots":{"a-1Z":1.5}}', /slot of a-1Z/],
    ['{"version":1,"last":0,"slots":{"a-1Z":7,"b-1Z":7}}', /a-1Z and b-1Z have the same slot 7/],
  ] as const
  for (const [text, message] of cases) {
    const folder = t.testdir({ 'slots.json': text })
    await t.rejects(openSlots(folder), { code: 'host_file_failed', message }, text)
    t.equal(await readFile(join(folder, 'slots.json'), 'utf8'), text)
  }
})

t.test('what cannot be written fails, and is written by the next', async (t) => {
  const folder = join(t.testdir(), 'away')
  const slots = await openSlots(folder)
  await slots.take(vm('one'))
  await rm(folder, { recursive: true })
  await writeFile(folder, 'in the way')
  await t.rejects(slots.take(vm('two')), { code: 'host_file_failed', message: /slots\.json/ })
  await t.rejects(slots.take(vm('two')), { code: 'host_file_failed' }, 'which it is not told to have')
  await t.rejects(openSlots(folder), { code: 'host_file_failed', message: /slots\.json/ })
  await rm(folder)
  t.equal(await slots.take(vm('two')), 2)
  const again = await openSlots(folder)
  t.same([again.find(vm('one')), again.find(vm('two'))], [1, 2])
})
