/** A host is told of its own VMs, of each change once, and of nothing else. */

import t from 'tap'
import { CREATED_AT, followFor, putPool, putReport, putVm } from './placed-store.ts'

t.test('finds the VMs of the pools that are placed on this host', async (t) => {
  const { news, copy } = await followFor(t, async (store) => {
    await putPool(store, 'mine', { host: 'me' })
    await putPool(store, 'theirs', { host: 'them' })
    await putPool(store, 'nowhere')
    await putVm(store, 'one')
    await putVm(store, 'two', { state: 'stopped', image: 'other' })
    for (const pool of ['theirs', 'nowhere', 'absent']) await putVm(store, `of-${pool}`, { pool })
    await putReport(store, 'one', 'me')
    await putReport(store, 'two', 'them')
    await putReport(store, 'of-theirs', 'them')
  })
  t.same(await news(), [
    'pool mine 1000',
    'want one running hello',
    'report one stopped',
    'want two stopped other',
    'report two undefined',
  ])
  t.equal(copy.isEmpty, false)
})

t.test('tells each change of a VM, its deletion, and its way from pool to pool', async (t) => {
  const { store, news } = await followFor(t, async (store) => {
    await putPool(store, 'mine', { host: 'me' })
    await putPool(store, 'theirs', { host: 'them' })
  })
  await news()
  await putVm(store, 'one')
  t.same(await news(), ['want one running hello'])
  await putVm(store, 'one', { state: 'stopped' })
  await putReport(store, 'one', 'me')
  await putReport(store, 'one', 'them')
  await store.delete('report/one')
  t.same(await news(), [
    'want one stopped hello',
    'report one stopped',
    'report one undefined',
    'report one undefined',
  ])
  await putVm(store, 'one', { pool: 'theirs' })
  await putReport(store, 'one', 'them')
  await putVm(store, 'one', { pool: 'theirs', state: 'stopped' })
  t.same(await news(), ['release one'])
  await putVm(store, 'one')
  await store.delete('vm/one')
  await putVm(store, 'other', { pool: 'theirs' })
  await store.delete('vm/other')
  t.same(await news(), ['want one running hello', 'remove one'])
})

t.test(
  'tells when a pool comes and goes before and after its VMs, and its size alone when that changes',
  async (t) => {
    const { store, news } = await followFor(t, async (store) => {
      await putVm(store, 'one')
      await putVm(store, 'other', { pool: 'theirs' })
    })
    t.same(await news(), [])
    await putPool(store, 'mine', { host: 'me' })
    t.same(await news(), ['pool mine 1000', 'want one running hello'])
    await putPool(store, 'mine', { host: 'me', cpuMillis: 2_000 })
    t.same(await news(), ['pool mine 2000'])
    await putPool(store, 'mine', { host: 'them' })
    t.same(await news(), ['release one', 'drop mine'])
    await putPool(store, 'mine', { host: 'me' })
    await store.delete('pool/mine')
    t.same(await news(), ['pool mine 1000', 'want one running hello', 'release one', 'drop mine'])
  },
)

t.test('takes no notice of a change that is older than what it holds', async (t) => {
  const { store, news, copy } = await followFor(t, async (store) => {
    await putPool(store, 'mine', { host: 'me' })
    await putVm(store, 'one')
  })
  await news()
  const vm = await store.get('vm/one')
  const pool = await store.get('pool/mine')
  if (!vm || !pool) throw new Error('nothing is there')
  copy.apply({ ...vm, value: { ...vm.value, state: 'stopped' } })
  copy.apply({ ...vm, value: undefined })
  copy.apply({ ...pool, value: undefined })
  t.same(await news(), [])
})

t.test('leaves a VM as it was whose record cannot be read, and goes on', async (t) => {
  const { store, news, log } = await followFor(t, async (store) => {
    await putPool(store, 'mine', { host: 'me' })
    await putVm(store, 'one')
  })
  await news()
  await store.put('vm/one', { name: 'one', pool: 7 })
  await store.put('pool/mine', { name: 'mine' })
  await putVm(store, 'two')
  t.same(await news(), ['want two running hello'])
  t.ok(log.lines.some(({ level }) => level === 'error'))
})

t.test('gives up, but does not delete, what a new listing no longer has', async (t) => {
  const { store, news } = await followFor(
    t,
    async (store) => {
      await putPool(store, 'mine', { host: 'me' })
      await putVm(store, 'one')
      await putVm(store, 'two')
      await putVm(store, 'broken')
    },
    { feedLimit: 20 },
  )
  await news()
  // All in one commit, and more than the feed holds: the follower has to list again.
  const filling = Array.from({ length: 60 }, (_unused, index) => ({ key: `x/${index}`, value: {} }))
  const broken = { key: 'vm/broken', value: { name: 'broken' } }
  await store.commit([{ key: 'vm/one', value: undefined }, broken, ...filling])
  const told = await news()
  t.same(told.slice(0, 2), ['release one', 'pool mine 1000'])
  t.same(told.slice(2).toSorted(), [
    'report broken undefined',
    'report two undefined',
    'want broken running hello',
    'want two running hello',
  ])
})

t.test('tells the snapshots that are to be taken, and when none is', async (t) => {
  const snapshot = (id: string, more: object = {}) => ({
    ...{ id, vm: 'one', vmCreatedAt: CREATED_AT, pool: 'mine', kind: 'made', state: 'wanted' },
    ...{ createdAt: CREATED_AT, ...more },
  })
  const { store, news } = await followFor(t, async (store) => {
    await putPool(store, 'mine', { host: 'me' })
    await putVm(store, 'one')
    await store.put('snapshot/one/b', snapshot('b'))
    await store.put('snapshot/one/a', snapshot('a', { createdAt: '2026-02-01T00:00:00Z' }))
    await store.put('snapshot/one/done', snapshot('done', { state: 'ready' }))
    await store.put('snapshot/one/old', snapshot('old', { vmCreatedAt: '2025-01-01T00:00:00Z' }))
    await store.put('snapshot/absent/x', snapshot('x', { vm: 'absent' }))
  })
  t.ok((await news()).includes('snapshots one b,a'))
  await store.put('snapshot/one/b', snapshot('b', { state: 'ready' }))
  t.same(await news(), ['snapshots one a'])
  await store.delete('snapshot/one/a')
  t.same(await news(), ['snapshots one '])
  await store.put('snapshot/one/c', snapshot('c'))
  await store.delete('vm/one')
  t.same(await news(), ['snapshots one c', 'remove one'])
})

t.test('tells of graves with files on this host, after a deletion and after a reload', async (t) => {
  const grave = (vm: string, more: object = {}) => {
    const record = { vm, vmCreatedAt: CREATED_AT, pool: 'mine', host: 'me', deletedAt: CREATED_AT }
    return { ...record, ...more }
  }
  const { store, news } = await followFor(
    t,
    async (store) => {
      await putPool(store, 'mine', { host: 'me' })
      await putVm(store, 'one')
      await store.put(`grave/dead/${CREATED_AT}/s`, grave('dead', { snapshot: 's' }))
      await store.put(`grave/theirs/${CREATED_AT}`, grave('theirs', { host: 'them' }))
    },
    { feedLimit: 20 },
  )
  t.ok((await news()).includes(`bury dead ${CREATED_AT} s`))
  await store.commit([
    { key: 'vm/one', value: undefined },
    { key: `grave/one/${CREATED_AT}`, value: grave('one') },
    { key: `grave/dead/${CREATED_AT}/s`, value: undefined },
  ])
  t.same(await news(), ['remove one', `bury one ${CREATED_AT}`])
  await putVm(store, 'two')
  await news()
  const filling = Array.from({ length: 60 }, (_unused, index) => ({ key: `x/${index}`, value: {} }))
  const two = { key: `grave/two/${CREATED_AT}`, value: grave('two') }
  await store.commit([{ key: 'vm/two', value: undefined }, two, ...filling])
  t.same(await news(), ['release two', 'pool mine 1000', `bury one ${CREATED_AT}`, `bury two ${CREATED_AT}`])
})

t.test('is not whole while a VM or a pool cannot be read', async (t) => {
  const { store, news, copy } = await followFor(t, async (store) => {
    await putPool(store, 'mine', { host: 'me' })
    await store.put('vm/one', { name: 'one', pool: 'mine', from: 'a later version' })
    await store.put('key/k1', { what: 'is this?' })
  })
  t.same(await news(), ['pool mine 1000'])
  t.notOk(copy.isWhole, 'it may be a VM that runs here')
  await putVm(store, 'one')
  t.same(await news(), ['want one running hello'])
  t.ok(copy.isWhole, 'a key is no matter')
})
