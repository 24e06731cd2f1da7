/** A whole edge at an authority with profiles and renewal information (RFC 9773): what it asks for, and what it does when a window moves. */

import t, { type Test } from 'tap'
import { createBooks } from '../../routing/certificates/books.ts'
import { PLATFORM, readServed } from '../helpers/acme-edge.ts'
import {
  gaugeOf,
  type OrderingEdges,
  type OrderingOptions,
  orderingEdgesFor,
  type SharingEdge,
} from '../helpers/certified-edges.ts'
import { edgeCall } from '../helpers/edge-call.ts'
import { originFor } from '../helpers/origin.ts'
import { QUIET_LOG as log } from '../helpers/quiet-log.ts'
import { until } from '../helpers/until.ts'

const NAME = 'www.shop.test'
const DEADLINE_MS = 20_000
const DAY_MS = 86_400_000

/** Both the platform and one custom name have their certificates. */
async function servedScene(t: Test, options: OrderingOptions) {
  const scene = await orderingEdgesFor(t, options)
  const origin = await originFor(t)
  await scene.route({ hostname: NAME, visibility: 'public', port: origin.port })
  for (const hostname of [PLATFORM, NAME]) {
    await until(async () => (await served(scene, hostname)).isTrusted, hostname, DEADLINE_MS)
  }
  return scene
}

function served({ edges, smallCa }: OrderingEdges, hostname: string, at: 0 | 1 = 0) {
  return readServed(edges[at].httpsPort, { hostname, root: smallCa.rootPem })
}

/** As if it had come two days ago, so that its replacement is free; the next edge that begins to look after renewals asks for its window. */
async function makeQuestionDue({ store }: OrderingEdges, name: string): Promise<void> {
  const { certificates } = createBooks({ store, log })
  const { row } = (await certificates.find(name, 'ec')) ?? {}
  if (row === undefined) throw new Error(`no certificate of ${name}`)
  const createdAt = new Date(Date.now() - 2 * DAY_MS).toISOString()
  await certificates.put(
    { ...row, createdAt },
    {
      ...{ name, keyType: 'ec', of: `${row.notAfter} ${createdAt}` },
      renewAt: new Date(Date.now() + 30 * DAY_MS).toISOString(),
      askAt: new Date(Date.now() - 1_000).toISOString(),
    },
  )
}

/** The office for renewals goes to whoever starts next. */
async function startAfresh(scene: OrderingEdges): Promise<SharingEdge> {
  for (const edge of scene.edges) await edge[Symbol.asyncDispose]()
  return scene.startEdge('edge-3')
}

const SPENT = 'Left: account 0 of 2, set 0 of 1, domain 0 of 1, account-new 0 of 1, failures 4 of 4.'

async function budgetOf({ adminToken }: OrderingEdges, edge: SharingEdge): Promise<string | undefined> {
  const { status, body } = await edgeCall(edge, {
    hostname: `admin.${PLATFORM}`,
    path: `/v1/certificates/${NAME}?check=true`,
    headers: { authorization: `Bearer ${adminToken}` },
  })
  const { steps } = JSON.parse(body) as { steps?: { step: string; detail: string }[] }
  return steps?.find(({ step }) => step === 'budget')?.detail ?? `${status} ${body}`
}

const questions = ({ smallCa }: OrderingEdges) =>
  smallCa.requests.filter((resource) => resource === 'renewal-info').length

t.test('the first profile that is offered is asked for', async (t) => {
  const { smallCa } = await servedScene(t, {
    smallCa: { profiles: { classic: 90, tlsserver: 45 } },
    env: { LANDFALL_ACME_PROFILES: 'shortlived,tlsserver,classic' },
  })
  t.same(
    smallCa.orders.map(({ profile }) => profile),
    ['tlsserver', 'tlsserver'],
  )
})

t.test('a revoked certificate is replaced at once, and no budget counts it', async (t) => {
  const scene = await servedScene(t, {
    smallCa: { hasRenewalInfo: true },
    env: { LANDFALL_ACME_LIMITS: 'domain=1,set=1,account=2' },
  })
  const { smallCa } = scene
  t.equal(await budgetOf(scene, scene.edges[0]), SPENT)
  const first = await served(scene, NAME)
  const { certId = '' } = smallCa.issued.find(({ names }) => names[0] === NAME) ?? {}
  smallCa.revoke(certId)
  await makeQuestionDue(scene, NAME)
  const edge = await startAfresh(scene)
  const isReplaced = async () => {
    const { fingerprint, isTrusted } = await readServed(edge.httpsPort, {
      hostname: NAME,
      root: smallCa.rootPem,
    })
    return isTrusted && fingerprint !== first.fingerprint
  }
  await until(isReplaced, 'the revoked certificate is replaced', DEADLINE_MS)
  t.match(smallCa.orders.slice(2), [{ names: [NAME], replaces: certId, status: 'valid' }])
  t.equal(await budgetOf(scene, edge), SPENT)
  // One that was about to end may have been first to ask.
  const logged = [...scene.edges, edge].flatMap((one) => one.logged)
  t.match(
    logged.find(({ message }) => message === 'an authority explains a renewal'),
    {
      name: NAME,
      explanationUrl: /\/why$/,
    },
  )
})

t.test('a start orders nothing, and a window in the future is kept', async (t) => {
  const scene = await servedScene(t, { smallCa: { hasRenewalInfo: true } })
  for (const name of [PLATFORM, NAME]) await makeQuestionDue(scene, name)
  const before = questions(scene)
  const edge = await startAfresh(scene)
  await until(() => questions(scene) >= before + 2, 'the authority is asked', DEADLINE_MS)
  const start = () => gaugeOf(edge, 'edge_ari_window_start_seconds')
  // Two thirds of 90 days.
  const isLate = async () => (await start()) * 1_000 > Date.now() + 50 * DAY_MS
  await until(isLate, 'the window is known', DEADLINE_MS)
  t.equal(scene.smallCa.orders.length, 2)
  t.equal((await readServed(edge.httpsPort, { hostname: NAME, root: scene.smallCa.rootPem })).isTrusted, true)
})
