/** The certificate desk: what there is, what is wrong with it step by step, uploads, removal, and renewal at once. */

import { X509Certificate } from 'node:crypto'
import t from 'tap'
import { AcmeError } from '../../../acme/errors.ts'
import { toOrderBudgets } from '../../../acme/orders/order-budgets.ts'
import type { OrderFailure } from '../../../acme/rows.ts'
import { CA } from '../../helpers/certificate-rows.ts'
import { daysFromNow, mintChain } from '../../helpers/minted.ts'
import { AT, caOf, deskFor, putOrder, putOrdered, SHOP, spend, statesOf } from './desk-scene.ts'

t.test('a name without a certificate is told what comes next, an unknown one is refused', async (t) => {
  const scene = await deskFor(t)
  const view = await scene.desk.view(SHOP)
  t.same(statesOf(view.steps), ['route right', 'order right', 'certificate waiting'])
  t.match(view, { hostname: SHOP, state: 'none', certificates: [] })
  t.match(view.steps[2], {
    detail: /at the first visit/,
    next: /domain certificate renew www\.shop\.example/,
  })
  await t.rejects(scene.desk.view('www.other.example'), { code: 'certificate_unknown' })
  const unknown = await scene.desk.check('www.other.example', new AbortController().signal)
  t.match(unknown.steps[0], {
    step: 'route',
    state: 'wrong',
    next: /landfall domain add www\.other\.example VM/,
  })
  for (const name of ['example.test', 'web.example.test']) {
    t.match((await scene.desk.view(name)).steps[0], { step: 'route', state: 'right' }, name)
  }
})

t.test('a certificate is shown with its issuer, end, renewal and window', async (t) => {
  const scene = await deskFor(t)
  const leaf = await putOrdered(scene)
  const { fingerprint256, issuer } = new X509Certificate(leaf.der)
  const view = await scene.desk.view(SHOP)
  t.equal(view.state, 'served')
  t.match(view.certificates, [
    { keyType: 'ec', names: [SHOP], source: 'acme', issuer, fingerprint: fingerprint256, ca: CA },
  ])
  t.equal(view.certificates[0]?.renewAt, daysFromNow(50).toISOString())
  t.match(view.steps.at(-1), {
    step: 'certificate',
    state: 'right',
    detail:
      /ec from CN=Authority .*, ordered, ends at .*, renewed at 2026-08-04.* \(the CA wants it from .* to .*\)\.$/,
  })
  t.notMatch(JSON.stringify(view), /sealed/)
})

t.test('a renewal that has not come is shown, and a usual one of this hour is not', async (t) => {
  const stepAt = async (now: number) => {
    const scene = await deskFor(t, { now: () => now })
    await putOrdered(scene)
    return (await scene.desk.view(SHOP)).steps.at(-1)
  }
  const renewAtMs = daysFromNow(50).getTime()
  t.match(await stepAt(renewAtMs + 60_000), { step: 'certificate', state: 'right' })
  t.match(await stepAt(renewAtMs + 2 * 3_600_000), {
    step: 'certificate',
    state: 'waiting',
    detail: /, was to be renewed at 2026-08-04/,
    next: /certificate renew www\.shop\.example/,
  })
})

t.test("names one label below the platform's share its certificate", async (t) => {
  const scene = await deskFor(t)
  await putOrdered(scene, { name: 'example.test' })
  for (const name of ['example.test', 'web.example.test']) {
    t.match(await scene.desk.view(name), { hostname: name, state: 'served' })
  }
  await scene.desk.check('web.example.test', new AbortController().signal)
  t.match(scene.demands, [{ names: ['example.test', '*.example.test'], types: ['dns-01'] }])
})

t.test('deeper below the platform nothing is ordered, and an upload is what helps', async (t) => {
  const scene = await deskFor(t)
  await putOrder(scene, { name: 'example.test', names: ['example.test', '*.example.test'] })
  const name = 'a.b.example.test'
  const view = await scene.desk.view(name)
  t.match(view, { state: 'none' })
  t.same(statesOf(view.steps), ['route right', 'certificate wrong'])
  t.match(view.steps[1], { detail: /more than one label/, next: /certificate upload a\.b\.example\.test/ })
  await scene.desk.check(name, new AbortController().signal)
  t.same(scene.demands, [], 'no authority is asked')
  await t.rejects(scene.desk.renew(name, scene.note), { code: 'certificate_unmanaged' })
  t.same([scene.wanted, scene.changes], [[], []])
})

t.test('below a domain of one label nothing is ordered', async (t) => {
  const scene = await deskFor(t, { domain: 'localhost' })
  for (const name of ['localhost', 'web.localhost', 'a.b.localhost']) {
    t.same(statesOf((await scene.desk.view(name)).steps), ['route right', 'certificate unknown'], name)
    await t.rejects(scene.desk.renew(name, scene.note), {
      code: 'certificate_unmanaged',
      detail: /No public authority/,
    })
  }
  t.same(scene.wanted, [])
})

t.test('an order under way and a failed one are told in words', async (t) => {
  const open = await deskFor(t)
  await putOrder(open, {})
  t.match(await open.desk.view(SHOP), {
    state: 'pending',
    steps: [
      {},
      {
        step: 'order',
        state: 'waiting',
        detail: /An order \(ec\) is under way at ca\.example since .*: ordered\./,
      },
      { state: 'waiting' },
    ],
  })
  const scene = await deskFor(t)
  const nextTryAt = daysFromNow(1).toISOString()
  const lastError: OrderFailure = {
    ...{ code: 'ca_unauthorized', detail: `The CA saw 404. ${'x'.repeat(480)}`, problemType: 'unauthorized' },
    ...{ step: 'answered', at: AT },
  }
  await putOrder(scene, { state: 'failed', failures: 3, lastError, nextTryAt })
  const view = await scene.desk.view(SHOP)
  t.match(view, { state: 'waiting', nextTryAt, lastError: { code: 'ca_unauthorized', at: AT } })
  const [, order, certificate] = view.steps
  t.match(order, {
    state: 'wrong',
    detail: /The last try \(ec\) failed .* as answered: The CA saw 404\./,
    next: /landfall domain check/,
  })
  t.ok(order?.detail.endsWith(`It is tried again at ${nextTryAt}.`))
  t.ok((order?.detail.length ?? 0) <= 500)
  t.match(certificate, { state: 'wrong' })
})

t.test('check asks DNS, authorities and budgets, in the order of an order', async (t) => {
  const steps = [
    { step: 'dns', state: 'right', detail: 'here' },
    { step: 'caa', state: 'wrong', detail: 'forbidden' },
  ] as const
  const scene = await deskFor(t, {
    steps,
    cas: [caOf(CA), caOf('https://b.example/d', new Error('it is down'))],
  })
  await scene.books.accounts.put(
    { ca: CA, sealedKey: scene.sealer.seal('k', 'x'), url: `${CA}/1`, createdAt: AT },
    0,
  )
  const { signal } = new AbortController()
  const check = await scene.desk.check(SHOP, signal)
  t.same(statesOf(check.steps), [
    ...['route right', 'dns right', 'caa wrong', 'budget right'],
    ...['ca right', 'ca unknown', 'order right', 'certificate waiting'],
  ])
  t.match(
    check.steps[3]?.detail,
    'Left: account 240 of 240, set 4 of 4, domain 40 of 40, account-new 160 of 160, failures 4 of 4.',
  )
  t.match(check.steps[5]?.detail, 'b.example does not answer: it is down')
  t.match(scene.demands, [
    {
      names: [SHOP],
      types: ['tls-alpn-01', 'http-01'],
      caaIdentities: ['ca.example'],
      accountUrl: `${CA}/1`,
    },
  ])
  await spend(scene, toOrderBudgets([SHOP], CA, { domain: 40, set: 4, account: 240, failures: 4 }))
  const empty = (await scene.desk.check(SHOP, signal)).steps[3]
  t.match(empty, { step: 'budget', state: 'waiting', detail: /set 0 of 4/, next: /Wait until 2026-06-1[67]/ })
  const none = await deskFor(t, { cas: [caOf(CA, new Error('it is down'))] })
  t.ok(statesOf((await none.desk.check(SHOP, signal)).steps).includes('ca wrong'))
})

t.test('a check that hangs ends, and one whose client is gone as well', async (t) => {
  const scene = await deskFor(t, { hangs: true, checkMs: 30 })
  const check = await scene.desk.check(SHOP, new AbortController().signal)
  t.match(check.steps[1], { step: 'dns', state: 'unknown', detail: /did not answer in time/ })
  const patient = await deskFor(t, { hangs: true })
  const gone = new AbortController()
  const asked = patient.desk.check(SHOP, gone.signal)
  gone.abort(new Error('gone'))
  await t.rejects(asked, { message: 'gone' })
})

t.test('without an authority it says so, and asks nobody', async (t) => {
  const scene = await deskFor(t, { isManaged: false })
  const check = await scene.desk.check(SHOP, new AbortController().signal)
  t.same(statesOf(check.steps), ['route right', 'ca unknown', 'certificate unknown'])
  t.match(check.steps[1], { detail: /No certificate authority is set/, next: /LANDFALL_ACME_CAS/ })
  t.same(scene.demands, [])
  await t.rejects(scene.desk.renew(SHOP, scene.note), { code: 'certificate_unmanaged' })
})

t.test('renew orders each kind of key, but nothing for an upload or a stranger', async (t) => {
  const scene = await deskFor(t)
  await putOrdered(scene)
  t.match(await scene.desk.renew(SHOP, scene.note), { hostname: SHOP, state: 'served' })
  const demand = { name: SHOP, names: [SHOP], cause: 'operator' }
  t.same(scene.wanted, [
    { ...demand, keyType: 'ec' },
    { ...demand, keyType: 'rsa' },
  ])
  t.same(
    scene.changes.map(({ key }) => key),
    [`order/${SHOP}/ec`, `order/${SHOP}/rsa`],
  )
  scene.wanted.length = 0
  await scene.desk.renew('web.example.test', scene.note)
  t.match(scene.wanted, [{ name: 'example.test', names: ['example.test', '*.example.test'] }, {}])
  scene.wanted.length = 0
  await t.rejects(scene.desk.renew('www.other.example', scene.note), { code: 'certificate_unknown' })
  const { leaf } = await mintChain()
  await scene.desk.upload(SHOP, { certificate: leaf.pem, key: leaf.keyPem }, scene)
  const refused = await scene.desk.renew(SHOP, scene.note).catch((error: unknown) => error)
  t.ok(refused instanceof AcmeError && refused.code === 'certificate_unmanaged')
  t.match(refused, { detail: /was uploaded, and is not ordered here/ })
  t.same(scene.wanted, [])
})
