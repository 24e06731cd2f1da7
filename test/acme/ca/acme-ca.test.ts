/** A certificate authority as orders see it: a whole issuance, and what is refused on the way. */

import { X509Certificate } from 'node:crypto'
import t from 'tap'
import { openCa } from '../../../acme/ca/acme-ca.ts'
import { CaProblem } from '../../../acme/ca/ca-problem.ts'
import {
  caFor,
  createFleetBooks,
  createRequest,
  failureOf,
  GO,
  issue,
  prove,
} from '../../helpers/ca-scene.ts'
import { QUIET_LOG } from '../../helpers/quiet-log.ts'
import { SEALER } from '../../helpers/sealer.ts'
import { problem, type SmallResource, smallCaFor } from '../../helpers/small-ca.ts'

const NAMES = ['a.example', '*.a.example']

function countOf(requests: readonly SmallResource[], resource: SmallResource): number {
  return requests.filter((item) => item === resource).length
}

t.test('gets a chain that leads to the root, with profile and what it replaces', async (t) => {
  const seen: string[] = []
  const validate = ({ name, keyAuthorization }: { name: string; keyAuthorization: string }) => {
    seen.push(`${name} ${keyAuthorization.split('.')[1]}`)
    return undefined
  }
  const small = await smallCaFor(t, { isHttps: true, profiles: { short: 6 }, validate })
  const ca = caFor(t, { ...small, trustedPem: small.serverRootPem ?? '' })
  t.same((await ca.facts(GO)).profiles, ['short'])
  const chain = await issue(ca, {
    names: NAMES,
    profile: 'short',
    replaces: 'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE',
  })
  const [leaf, intermediate] = chain.map((one) => new X509Certificate(one))
  t.equal(leaf?.subjectAltName, 'DNS:a.example, DNS:*.a.example')
  t.ok(intermediate && leaf?.verify(intermediate.publicKey))
  t.ok(intermediate?.verify(new X509Certificate(small.rootPem).publicKey))
  t.match(small.orders, [{ names: NAMES, profile: 'short', replaces: 'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE' }])
  const thumbprint = await ca.getThumbprint()
  t.same(seen, [`a.example ${thumbprint}`, `a.example ${thumbprint}`])
})

t.test('asks for a nonce once, and uses those that come with answers after that', async (t) => {
  const small = await smallCaFor(t)
  await issue(caFor(t, small), { names: NAMES })
  t.equal(countOf(small.requests, 'nonce'), 1)
  t.equal(countOf(small.requests, 'directory'), 1)
})

t.test('gets through when half of the nonces are refused', async (t) => {
  const small = await smallCaFor(t, { badNonceShare: 0.5 })
  const ca = caFor(t, small)
  await Promise.all(['a', 'b', 'c', 'd'].map((name) => issue(ca, { names: [`${name}.example`] })))
  t.equal(small.issued.length, 4)
  t.equal(small.orders.length, 4)
})

t.test('uses no nonce twice', async (t) => {
  const small = await smallCaFor(t)
  const ca = caFor(t, small)
  await ca.getAccount(GO)
  small.fail('newOrder', problem(400, 'badNonce'))
  await ca.createOrder({ names: ['a.example'] }, GO)
  t.equal(countOf(small.requests, 'newOrder'), 2)
  await Promise.all(['b', 'c', 'd'].map((name) => ca.createOrder({ names: [`${name}.example`] }, GO)))
  t.equal(countOf(small.requests, 'newOrder'), 5)
})

t.test('gives up when all nonces are refused, and says so', async (t) => {
  const small = await smallCaFor(t)
  const ca = caFor(t, small)
  await ca.getAccount(GO)
  small.options.badNonceShare = 1
  const error = await failureOf(ca.createOrder({ names: NAMES }, GO), CaProblem)
  t.match(error.problem, { type: 'badNonce', status: 400 })
  t.equal(countOf(small.requests, 'newOrder'), 31)
})

t.test('tells how long the authority wants to be left alone', async (t) => {
  const small = await smallCaFor(t, { pollsUntilDone: 1, retryAfter: 7 })
  const ca = caFor(t, small)
  const { authorizations, url } = await ca.createOrder({ names: ['a.example'] }, GO)
  t.equal((await ca.getOrder(url, GO)).retryAfterMs, 7_000)
  t.equal((await ca.getAuthorization(authorizations[0] ?? '', GO)).retryAfterMs, 7_000)
  const ready = await prove(ca, { names: ['b.example'] })
  t.equal(ready.retryAfterMs, undefined)
  const processing = await ca.finalize(ready, await createRequest(['b.example']), GO)
  t.match(processing, { status: 'processing', retryAfterMs: 7_000, url: ready.url })
})

t.test('shows why a name could not be proven', async (t) => {
  const small = await smallCaFor(t, { validate: () => 'no TXT record found' })
  const ca = caFor(t, small)
  const { authorizations, url } = await ca.createOrder({ names: ['a.example'] }, GO)
  const { challenges } = await ca.getAuthorization(authorizations[0] ?? '', GO)
  await ca.answerChallenge(challenges[0]?.url ?? '', GO)
  const after = await ca.getAuthorization(authorizations[0] ?? '', GO)
  t.equal(after.status, 'invalid')
  t.match(after.challenges[0], {
    status: 'invalid',
    problem: { type: 'unauthorized', detail: 'no TXT record found' },
  })
  t.equal((await ca.getOrder(url, GO)).status, 'invalid')
})

t.test('keeps what a refusal says, and asks no second time', async (t) => {
  const small = await smallCaFor(t)
  const ca = caFor(t, small)
  await ca.getAccount(GO)
  const cases = [
    { reply: problem(429, 'rateLimited', 'too many', '60'), code: 'ca_limited', retryAfterMs: 60_000 },
    {
      reply: problem(503, 'serverInternal', 'busy', '9999999'),
      code: 'ca_limited',
      retryAfterMs: 86_400_000,
    },
    { reply: problem(500, 'serverInternal', 'broken'), code: 'ca_unreachable', status: 500 },
    { reply: problem(400, 'rejectedIdentifier', 'not this one'), code: 'ca_refused', status: 400 },
    { reply: problem(403, 'unauthorized', 'deactivated'), code: 'ca_account', status: 403 },
    { reply: { status: 502, body: '<html>' }, code: 'ca_unreachable', status: 502 },
    { reply: { status: 204 }, code: 'ca_nonsense' },
    { reply: { status: 200, body: '<html>' }, code: 'ca_nonsense' },
    { reply: { status: 201, body: 'null' }, code: 'ca_nonsense' },
    { reply: { status: 201, body: '5' }, code: 'ca_nonsense' },
  ]
  for (const { reply, code, ...wanted } of cases) {
    small.requests.length = 0
    small.fail('newOrder', reply)
    const error = await failureOf(ca.createOrder({ names: NAMES }, GO), CaProblem)
    t.equal(error.code, code, `${reply.status}`)
    t.match(error.problem, wanted)
    t.equal(countOf(small.requests, 'newOrder'), 1)
  }
  t.equal(small.orders.length, 0)
})

t.test('refuses an order for other names, and one that is nowhere', async (t) => {
  const small = await smallCaFor(t)
  const ca = caFor(t, small)
  const base = new URL(small.directory).origin
  const identifiers = [{ type: 'dns', value: 'other.example' }]
  const body = { status: 'pending', identifiers, authorizations: [], finalize: `${base}/finalize/1` }
  small.fail('newOrder', { status: 201, body, headers: { location: `${base}/order/1` } })
  t.match(await failureOf(ca.createOrder({ names: NAMES }, GO), CaProblem), {
    code: 'ca_nonsense',
    detail: /names/,
  })
  small.fail('newOrder', { status: 201, body })
  t.equal((await failureOf(ca.createOrder({ names: NAMES }, GO), CaProblem)).code, 'ca_nonsense')
  const away = { location: 'http://169.254.169.254/order' }
  small.fail('newOrder', {
    status: 201,
    body: { ...body, identifiers: NAMES.map((value) => ({ type: 'dns', value })) },
    headers: away,
  })
  t.equal((await failureOf(ca.createOrder({ names: NAMES }, GO), CaProblem)).code, 'ca_nonsense')
})

t.test('has the order after an answer that was lost', async (t) => {
  const small = await smallCaFor(t)
  const ca = caFor(t, small)
  const ready = await prove(ca, { names: ['a.example'] })
  small.fail('finalize', 'lose')
  const csr = await createRequest(['a.example'])
  t.equal((await failureOf(ca.finalize(ready, csr, GO), CaProblem)).problem.type, 'unreachable')
  const order = await ca.getOrder(ready.url, GO)
  t.equal(order.status, 'valid')
  t.match(await failureOf(ca.finalize(order, csr, GO), CaProblem), { problem: { type: 'orderNotReady' } })
  t.ok(await ca.download(order, GO))
})

t.test('reads renewal information', async (t) => {
  const small = await smallCaFor(t)
  const ca = caFor(t, small)
  await issue(ca, { names: ['a.example'] })
  const certId = small.issued[0]?.certId ?? ''
  const now = Date.now()
  const early = await ca.findRenewalInfo(certId, GO)
  t.ok(early && early.startMs > now && early.endMs > early.startMs)
  t.equal(early?.retryAfterMs, 21_600_000)
  small.revoke(certId)
  const late = await ca.findRenewalInfo(certId, GO)
  t.ok(late && late.endMs < now && late.explanationUrl)
  t.equal((await failureOf(ca.findRenewalInfo('other.other', GO), CaProblem)).problem.status, 404)
  const without = await smallCaFor(t, { hasRenewalInfo: false })
  t.equal(await caFor(t, without).findRenewalInfo(certId, GO), undefined)
})

t.test('logs an answer that is nonsense, without what could be a secret', async (t) => {
  const small = await smallCaFor(t)
  const lines: Record<string, unknown>[] = []
  const log = { ...QUIET_LOG, warn: (fields: Record<string, unknown>) => void lines.push(fields) }
  using ca = openCa(
    { ...createFleetBooks(), sealer: SEALER, log },
    { directory: small.directory, agreesToTerms: true },
  )
  const { authorizations } = await ca.createOrder({ names: NAMES }, GO)
  const token = 'secret-'.repeat(6)
  small.fail('authorization', {
    status: 200,
    body: { status: 'perhaps', challenges: [{ type: 'http-01', token }] },
  })
  t.equal((await failureOf(ca.getAuthorization(authorizations[0] ?? '', GO), CaProblem)).code, 'ca_nonsense')
  t.equal(lines.length, 1)
  t.match(lines[0], { ca: small.directory, status: 200, answer: /"perhaps".*"http-01"/ })
  t.notMatch(String(lines[0]?.answer), /secret/)
})

t.test('keeps its directory, and reads it anew for whoever wants to know it now', async (t) => {
  const small = await smallCaFor(t)
  const ca = caFor(t, small)
  await ca.facts(GO)
  await small.stop()
  t.match(await ca.facts(GO), { profiles: [] })
  t.match(await failureOf(ca.facts(GO, { maxAgeMs: 0 }), CaProblem), { code: 'ca_unreachable' })
})

t.test('asks for a window also where the place for it ends with a slash', async (t) => {
  const small = await smallCaFor(t, { hasRenewalInfo: true })
  const directory = (await (await fetch(small.directory)).json()) as { readonly renewalInfo: string }
  const body = JSON.stringify({ ...directory, renewalInfo: `${directory.renewalInfo}/` })
  const ca = caFor(t, small)
  await issue(ca, { names: ['a.example'] })
  const other = caFor(t, small)
  small.fail('directory', { status: 200, body })
  t.match(await other.findRenewalInfo(small.issued[0]?.certId ?? '', GO), { startMs: Number })
})
