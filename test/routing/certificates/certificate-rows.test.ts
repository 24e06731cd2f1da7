/** Packed certificates against a plain model: any order of changes and loads, and nothing is left behind. */

import t, { type Test } from 'tap'
import { CertificateRows } from '../../../routing/certificates/certificate-rows.ts'
import { PackedRecords } from '../../../routing/certificates/packed-records.ts'
import type { Change, Document } from '../../../routing/store/store.ts'
import { certificateOf, derOf, FAR, NOW, renewalOf } from '../../helpers/certificate-rows.ts'

/** Numbers below `limit` that are the same in each run. */
function createDice(seed: number) {
  let state = seed
  return (limit: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
}

type Model = Map<string, Change>

function coverOf(model: Model, hostname: string): readonly string[] {
  const wild = `*${hostname.slice(hostname.indexOf('.'))}`
  const covers = (names: readonly string[]) => names.includes(hostname) || names.includes(wild)
  return [...model.values()]
    .filter(({ key, value }) => key.startsWith('certificate/') && covers(value?.names as string[]))
    .map(({ key, revision }) => `${key} ${revision}`)
    .sort()
}

function compareWith(t: Test, rows: CertificateRows, model: Model, zone: readonly string[]): void {
  const certificates = [...model].filter(([key]) => key.startsWith('certificate/'))
  t.equal(rows.size, certificates.length)
  t.equal([...rows.list()].length, certificates.length)
  for (const [key, { value, revision }] of certificates) {
    const slot = key.slice('certificate/'.length)
    const known = rows.get(slot)
    if (known?.revision !== revision) t.fail(`${key} has ${known?.revision}, not ${revision}`)
    const renewal = model.get(`renewal/${slot}`)?.value
    const isOf = renewal?.of === `${value?.notAfter} ${value?.createdAt}`
    if ((known?.renewal !== undefined) !== isOf) t.fail(`the renewal of ${key}`)
    if (JSON.stringify(known?.read().names) !== JSON.stringify(value?.names)) t.fail(`names of ${key}`)
    if (JSON.stringify(known?.read().chain) !== JSON.stringify(value?.chain)) t.fail(`chain of ${key}`)
  }
  for (const hostname of zone) {
    const found = rows.find(hostname).map((one) => `certificate/${one.name}/${one.keyType} ${one.revision}`)
    if (found.sort().join() !== coverOf(model, hostname).join()) t.fail(`find ${hostname}`)
  }
}

t.test('is what a plain model is, whatever changes and loads come', async (t) => {
  const roll = createDice(6)
  const zone = Array.from({ length: 60 }, (_, n) => `${'abcdef'[n % 6]}${n}.zone${n % 4}.example`)
  const rows = new CertificateRows()
  const model: Model = new Map()
  let revision = 0
  const pick = () => zone[roll(zone.length)] ?? ''
  const change = (): Change => {
    revision += 1
    const name = pick()
    const keyType = roll(3) === 0 ? 'rsa' : 'ec'
    const createdAt = roll(2) === 0 ? NOW : FAR
    const names = [name, pick(), `*${name.slice(name.indexOf('.'))}`].slice(0, 1 + roll(3))
    const row = certificateOf(name, {
      ...{ keyType, createdAt, names: [...new Set(names)] },
      chain: [derOf(`${revision}`, 200 + roll(3_000)), derOf(`i${roll(4)}`), derOf(`j${roll(50)}`)],
    })
    const isRenewal = roll(4) === 0
    const value = isRenewal ? renewalOf(row, { reason: `r${roll(3)}` }) : row
    const key = `${isRenewal ? 'renewal' : 'certificate'}/${name}/${keyType}`
    return { key, revision, value: roll(4) === 0 ? undefined : ({ ...value } as unknown as Document) }
  }
  const write = (): Change => {
    const made = change()
    if (made.value === undefined) model.delete(made.key)
    else model.set(made.key, made)
    return made
  }
  for (let round = 0; round < 120; round += 1) {
    for (let count = roll(60); count > 0; count -= 1) {
      const made = write()
      rows.apply(made)
      if (roll(10) === 0) rows.apply(made)
    }
    if (roll(3) === 0) {
      const givenUp = rows.startLoad()
      for (const known of [...model.values()].slice(0, roll(20))) givenUp.apply(known)
      if (roll(2) === 0) write()
      const load = rows.startLoad()
      for (const known of model.values()) load.apply(known)
      for (let count = roll(8); count > 0; count -= 1) load.apply(write())
      load.finish()
    }
    if (roll(2) === 0) while (rows.tidy());
    compareWith(t, rows, model, zone)
  }
  t.ok(revision > 2_000)
})

t.test('gives its memory back', async (t) => {
  const dropped: number[] = []
  const records = new PackedRecords({ onDrop: (slot) => dropped.push(slot) })
  const empty = records.bytes
  const keys = Array.from({ length: 2_000 }, (_, n) => `n${n}.example`)
  const put = (name: string, revision: number) =>
    records.apply({
      key: `certificate/${name}/ec`,
      revision,
      value: { ...certificateOf(name, { chain: [derOf(name), derOf('shared')] }) },
    })
  for (const [n, name] of keys.entries()) put(name, n + 1)
  const full = records.bytes
  t.equal(records.certificates, 2_000)
  t.equal(records.texts.size, 3, 'the intermediate, the CA and the id of the key')
  for (let round = 1; round <= 5; round += 1)
    for (const [n, name] of keys.entries()) put(name, round * 10_000 + n)
  t.ok(records.bytes < full * 1.5, `${records.bytes} of ${full}`)
  for (const name of keys)
    records.apply({ key: `certificate/${name}/ec`, revision: 99_999, value: undefined })
  t.equal(records.certificates, 0)
  t.equal(records.texts.size, 0)
  t.ok(records.bytes < empty + 300_000, `${records.bytes} after ${empty}`)
  t.equal(dropped.length, 12_000)
})

t.test('what a load brings anew is dropped with it when it is given up', async (t) => {
  const records = new PackedRecords({ onDrop: () => {} })
  const changeOf = (name: string) => ({
    key: `certificate/${name}/ec`,
    revision: 1,
    value: { ...certificateOf(name) },
  })
  records.apply(changeOf('kept.example'))
  const texts = records.texts.size
  const first = records.startLoad()
  first.apply({
    ...changeOf('new.example'),
    value: { ...certificateOf('new.example', { profile: 'short' }) },
  })
  first.apply(changeOf('kept.example'))
  const second = records.startLoad()
  t.equal(records.texts.size, texts)
  t.throws(() => first.finish(), /given up/)
  second.keep('certificate/kept.example/ec')
  second.keep('certificate/none.example/ec')
  const told: string[] = []
  second.finish((key) => told.push(key))
  t.same(told, [])
  t.equal(records.certificates, 1)
  const third = records.startLoad()
  third.finish((key) => told.push(key))
  t.same(told, ['certificate/kept.example/ec'])
  t.same([records.certificates, records.texts.size], [0, 0])
})

t.test('names whose hashes are the same are told apart', async (t) => {
  const records = new PackedRecords({ onDrop: () => {}, hash: () => 7 })
  for (const [n, name] of ['a.example', 'b.example', 'c.example'].entries()) {
    records.apply({ key: `certificate/${name}/ec`, revision: n + 1, value: { ...certificateOf(name) } })
  }
  records.apply({ key: 'certificate/b.example/ec', revision: 9, value: undefined })
  t.equal(records.findNamed('a.example').length, 1)
  t.equal(records.findNamed('b.example').length, 0)
  t.not(records.find('certificate/c.example/ec'), 0)
  t.equal(records.find('certificate/c.example/rsa'), 0)
})
