/** The list that stands in for a Set on the hot path behaves like one, whatever comes and goes. */

import { array, asyncProperty, constantFrom, nat, tuple } from 'fast-check'
import t from 'tap'
import { SlotList, type Slotted } from '../../lib/slot-list.ts'
import { fuzzFor } from '../helpers/fuzz.ts'

interface Member extends Slotted {
  readonly name: number
}

function membersOf(count: number): Member[] {
  return Array.from({ length: count }, (_, name) => ({ slot: -1, name }))
}

/** @throws Error that says where the list is not what the set is */
function checkAlike(list: SlotList<Member>, set: ReadonlySet<Member>, all: readonly Member[]): void {
  const members = list.snapshot()
  const isAlike = list.size === set.size && members.length === set.size && members.every((it) => set.has(it))
  if (!isAlike || new Set(members).size !== set.size)
    throw new Error(`has ${members.map(({ name }) => name)}`)
  for (const member of all) {
    if (set.has(member) ? members[member.slot] !== member : member.slot !== -1)
      throw new Error(`${member.name} has the slot ${member.slot}`)
  }
}

t.test('is a set: any members added and deleted in any order', async (t) => {
  const steps = array(tuple(constantFrom('add' as const, 'delete' as const), nat(7)), { maxLength: 60 })
  const isSet = asyncProperty(steps, async (sequence) => {
    const all = membersOf(8)
    const list = new SlotList<Member>()
    const set = new Set<Member>()
    for (const [action, which] of sequence) {
      const member = all[which]
      if (member === undefined) continue
      list[action](member)
      set[action](member)
      checkAlike(list, set, all)
    }
  })
  await fuzzFor(t, { seconds: 1 }).holds(t, isSet, 1)
})

t.test('a member that left one list can join another', async (t) => {
  const [member = { slot: -1, name: 0 }, other = { slot: -1, name: 1 }] = membersOf(2)
  const one = new SlotList<Member>()
  const two = new SlotList<Member>()
  one.add(other)
  one.add(member)
  one.delete(member)
  two.add(member)
  t.same(one.snapshot(), [other])
  t.same(two.snapshot(), [member])
  t.equal(member.slot, 0)
})

t.test('a snapshot stays as it was while members come and go', async (t) => {
  const all = membersOf(5)
  const list = new SlotList<Member>()
  for (const member of all.slice(0, 4)) list.add(member)
  const seen: number[] = []
  for (const member of list.snapshot()) {
    seen.push(member.name)
    for (const each of all.slice(0, 4)) list.delete(each)
    for (const each of all.slice(4)) list.add(each)
  }
  t.same(seen, [0, 1, 2, 3])
  t.same(
    list.snapshot().map(({ name }) => name),
    [4],
  )
})

t.test('deleting what is in no list does nothing', async (t) => {
  const [inside = { slot: -1, name: 0 }, outside = { slot: -1, name: 1 }] = membersOf(2)
  const list = new SlotList<Member>()
  list.add(inside)
  list.delete(outside)
  t.same(list.snapshot(), [inside])
  list.delete(inside)
  list.delete(inside)
  t.equal(list.size, 0)
})
