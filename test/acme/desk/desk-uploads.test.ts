/** Uploads at the desk: what they count for, what they take the place of, and that nothing is written without a record. */

import t from 'tap'
import { daysFromNow, extension, mint, mintChain, NOW } from '../../helpers/minted.ts'
import { until } from '../../helpers/until.ts'
import { AT, deskFor, putOrder, putOrdered, SHOP, statesOf } from './desk-scene.ts'

t.test('an upload counts for its host name alone, sealed where it is kept', async (t) => {
  const scene = await deskFor(t)
  const { leaf, intermediate } = await mintChain({ names: [SHOP, '*.example.test', 'www.bank.example'] })
  const upload = { certificate: leaf.pem + intermediate.pem, key: leaf.keyPem }
  const told = await scene.desk.upload(SHOP, upload, scene)
  t.match(told, { state: 'served', certificates: [{ source: 'upload', names: [SHOP] }] })
  t.same(statesOf(told.steps), ['route right', 'certificate right'])
  const kept = await scene.books.certificates.find(SHOP, 'ec')
  t.match(kept?.row, {
    names: [SHOP],
    source: 'upload',
    createdAt: AT,
    notAfter: daysFromNow(80).toISOString(),
  })
  t.same(
    kept?.row.chain,
    [leaf.der, intermediate.der].map((der) => der.toString('base64')),
  )
  const opened = scene.sealer.open(kept?.row.sealedKey, `certificate/${SHOP}/ec`)
  t.ok(opened.equals(leaf.key.export({ type: 'pkcs8', format: 'der' })))
  await until(() => scene.table.find(SHOP).length === 1, 'the table has it')
  t.same([...scene.table.find('www.bank.example'), ...scene.table.find('web.example.test')], [])
  t.match(scene.changes, [
    { key: `certificate/${SHOP}/ec`, after: { name: SHOP, source: 'upload', fingerprint: String } },
  ])
  const keyText = leaf.keyPem.split('\n')[1] ?? ''
  t.notMatch(JSON.stringify([scene.changes, told]), /sealed|chain/)
  t.notOk(JSON.stringify([scene.changes, (await scene.store.list('')).documents]).includes(keyText))
  const check = await scene.desk.check(SHOP, new AbortController().signal)
  t.same(statesOf(check.steps), ['route right', 'certificate right'], 'no authority is asked for it')
})

t.test('an upload takes the place of what was ordered, of the other kind of key as well', async (t) => {
  const scene = await deskFor(t)
  await putOrdered(scene, { keyType: 'ec' })
  await putOrder(scene, { keyType: 'ec' })
  await putOrder(scene, { keyType: 'rsa' })
  const { leaf } = await mintChain({ kind: 'rsa-2048' })
  const told = await scene.desk.upload(SHOP, { certificate: leaf.pem, key: leaf.keyPem }, scene)
  t.match(told.certificates, [{ keyType: 'rsa', source: 'upload' }])
  t.equal(told.certificates.length, 1)
  t.equal(await scene.books.certificates.find(SHOP, 'ec'), undefined)
  t.equal(await scene.books.orders.find(SHOP, 'ec'), undefined)
  t.equal(await scene.books.orders.find(SHOP, 'rsa'), undefined)
  t.same(
    scene.changes.map(({ key, after }) => `${key} ${after === undefined ? 'deleted' : 'put'}`),
    [`certificate/${SHOP}/rsa put`, `certificate/${SHOP}/ec deleted`],
  )
  const ec = (await mintChain()).leaf
  await until(() => scene.table.get(SHOP, 'rsa') !== undefined, 'the table has it')
  const both = await scene.desk.upload(SHOP, { certificate: ec.pem, key: ec.keyPem }, scene)
  t.same(
    both.certificates.map(({ keyType }) => keyType),
    ['ec', 'rsa'],
    'two uploads go together',
  )
})

t.test('an order that is carried on meanwhile makes way as well', async (t) => {
  const scene = await deskFor(t)
  await putOrder(scene, { keyType: 'ec' })
  const { orders } = scene.books
  const { find } = orders
  const states = ['published', 'confirmed', 'answered'] as const
  let saved = 0
  // Whoever carries it out saves between the desk's look and its deletion.
  const carryOn: typeof find = async (name, keyType) => {
    const kept = await find(name, keyType)
    const state = states[saved]
    if (kept === undefined || state === undefined) return kept
    saved += 1
    await orders.put({ ...kept.row, state }, kept.revision)
    return kept
  }
  Object.assign(orders, { find: carryOn })
  const { leaf } = await mintChain({ kind: 'rsa-2048' })
  await scene.desk.upload(SHOP, { certificate: leaf.pem, key: leaf.keyPem }, scene)
  t.equal(saved, states.length)
  t.equal(await find(SHOP, 'ec'), undefined)
})

t.test('what cannot be recorded, or is refused, is not written', async (t) => {
  const scene = await deskFor(t)
  const { leaf } = await mintChain()
  const upload = { certificate: leaf.pem, key: leaf.keyPem }
  const fail = () => Promise.reject(new Error('no record'))
  await t.rejects(scene.desk.upload(SHOP, upload, { note: fail }), { message: 'no record' })
  await t.rejects(scene.desk.upload('www.other.example', upload, scene), { code: 'certificate_invalid' })
  await t.rejects(scene.desk.upload(SHOP, { ...upload, key: 'x' }, scene), {
    code: 'certificate_invalid',
  })
  t.same((await scene.store.list('')).documents, [])
  t.same(scene.changes, [])
  await scene.desk.upload(SHOP, upload, scene)
  await t.rejects(scene.desk.remove(SHOP, fail), { message: 'no record' })
  t.ok(await scene.books.certificates.find(SHOP, 'ec'))
})

t.test("the platform's upload has to cover the domain and what is below it", async (t) => {
  const scene = await deskFor(t)
  const one = await mint({ names: ['example.test'] })
  await t.rejects(scene.desk.upload('example.test', { certificate: one.pem, key: one.keyPem }, scene), {
    message: /does not cover "\*\.example\.test"/,
  })
  const both = await mint({ names: ['example.test', '*.example.test', 'other.example'] })
  const told = await scene.desk.upload('example.test', { certificate: both.pem, key: both.keyPem }, scene)
  t.match(told.certificates, [{ names: ['example.test', '*.example.test'] }])
})

t.test('remove takes away what was uploaded, and nothing else', async (t) => {
  const scene = await deskFor(t)
  t.equal(await scene.desk.remove(SHOP, scene.note), false)
  await putOrdered(scene)
  t.equal(await scene.desk.remove(SHOP, scene.note), false)
  t.ok(await scene.books.certificates.find(SHOP, 'ec'))
  const { leaf } = await mintChain()
  await scene.desk.upload(SHOP, { certificate: leaf.pem, key: leaf.keyPem }, scene)
  t.equal(await scene.desk.remove(SHOP, scene.note), true)
  t.equal(await scene.books.certificates.find(SHOP, 'ec'), undefined)
  t.match(scene.changes.at(-1), { key: `certificate/${SHOP}/ec`, before: { source: 'upload' } })
})

t.test('an upload that ends soon is pointed at, one that has ended is wrong', async (t) => {
  let nowMs = NOW
  const scene = await deskFor(t, { now: () => nowMs })
  const { leaf } = await mintChain()
  await scene.desk.upload(SHOP, { certificate: leaf.pem, key: leaf.keyPem }, scene)
  await until(() => scene.table.find(SHOP).length === 1, 'the table has it')
  for (const [days, state, served] of [
    [0, 'right', 'served'],
    [70, 'waiting', 'served'],
    [81, 'wrong', 'none'],
  ] as const) {
    nowMs = daysFromNow(days).getTime()
    const view = await scene.desk.view(SHOP)
    t.equal(view.state, served)
    t.match(view.steps.at(-1), { step: 'certificate', state })
    t.equal(view.steps.at(-1)?.next !== undefined, state !== 'right')
  }
})

t.test('what cannot be opened with the secret keys of today is wrong, and not served', async (t) => {
  const scene = await deskFor(t)
  const { sealer } = await deskFor(t)
  await putOrdered({ ...scene, sealer })
  const ordered = await scene.desk.view(SHOP)
  t.equal(ordered.state, 'none')
  t.match(ordered.steps.at(-1), {
    step: 'certificate',
    state: 'wrong',
    detail: /its key cannot be opened with the secret keys of this edge/,
    next: /^Run "landfall domain certificate renew www\.shop\.example", or .* LANDFALL_SECRET_KEY_FILE/,
  })
  const kept = await scene.books.certificates.find(SHOP, 'ec')
  if (kept === undefined) throw new TypeError('there is no certificate')
  await scene.books.certificates.put({ ...kept.row, source: 'upload' }, undefined)
  await until(() => scene.table.get(SHOP, 'ec')?.source === 'upload', 'the table has it')
  t.match((await scene.desk.view(SHOP)).steps.at(-1), { state: 'wrong', next: /^Upload it once more, or/ })
})

t.test('a certificate with another one in PEM inside of it is shown as what it is', async (t) => {
  const scene = await deskFor(t)
  const inner = await mint({ subject: 'CN=inner' })
  const text = Buffer.from(`\n${inner.pem}`).toString('hex')
  const extensions = [extension('1.2.3.4', text)]
  const outer = await mint({ subject: 'CN=outer', names: [SHOP], extensions })
  const told = await scene.desk.upload(SHOP, { certificate: outer.pem, key: outer.keyPem }, scene)
  t.equal(told.certificates[0]?.issuer, 'CN=outer')
})
