/** Access that is taken away through one edge ends everything that is open at another, within a second of the answer of the API. */

import t, { type Test } from 'tap'
import { ask } from '../faults/ask.ts'
import type { EdgeProcess } from '../faults/edge-process.ts'
import {
  type Fields,
  type StreamKind,
  type StreamSource,
  streamSourceFor,
  untilEnded,
} from '../faults/open-streams.ts'
import { askVm, type PrivateFleet, privateFleetFor, sshUserFor, VM_HOST } from '../faults/private-fleet.ts'
import { echoVmFor } from '../helpers/echo-vm.ts'
import { rawOriginFor } from '../helpers/origin.ts'
import { redisFor } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'

/** The issue says one second, of the 99th percentile. */
const LIMIT_MS = 1_000
const MAX_SLOW = 5
const ROUNDS = 30
/** A busy machine makes one of them late, a fault all. */
const ATTEMPTS = 3
const WEB: readonly StreamKind[] = ['websocket', 'websocket-h2', 'events', 'events-h2']
const ALL: readonly StreamKind[] = [...WEB, 'tunnel']
t.setTimeout(180_000)

/** Somebody who is let in. */
interface Guest {
  readonly fields: Fields
  readonly kinds: readonly StreamKind[]
  /** Takes that away through the first edge; resolves with its answer. */
  readonly take: () => Promise<unknown>
  /** What the next request is answered. */
  readonly refusal: number
  /** What is left of it then: a VM has a hundred grants at most. */
  readonly grant?: string
  /** Their WebSockets are cut without a close frame: the edge does not read frames for strangers. */
  readonly isStranger?: boolean
}

type Invite = (fleet: PrivateFleet, round: number) => Promise<Guest>

const bearer = (token: string) => ({ 'x-landfall-authorization': `Bearer ${token}` })
const ofPage = (cookie: string) => ({ cookie, origin: `https://${VM_HOST}` })
const soon = () => new Date(Date.now() + 600_000).toISOString()

/** A user with an SSH key, a grant as root for all ports, and what it takes to end either. */
async function rootOf({ api }: PrivateFleet, round: number, name: string) {
  const member = await sshUserFor(api, `${name}-${round}`)
  const to = { kind: 'user', value: member.user }
  const grant = await api('POST', '/v1/vms/app/grants', { to, role: 'root', ports: [22, 8_000] })
  return { ...member, grant: String(grant.id), fields: bearer(member.token) }
}

async function visitorOf({ api, logIn }: PrivateFleet, user: string) {
  const grant = await api('POST', '/v1/vms/app/grants', { to: { kind: 'user', value: user }, role: 'viewer' })
  const { cookie, session } = await logIn(user)
  return { session, fields: ofPage(cookie), grant: String(grant.id) }
}

const INVITES: Readonly<Record<string, Invite>> = {
  'a grant': async (fleet, round) => {
    const { fields, grant } = await rootOf(fleet, round, 'grantee')
    const take = () => fleet.api('DELETE', `/v1/vms/app/grants/${grant}`)
    return { fields, kinds: ALL, take, refusal: 403 }
  },
  "a VM's token": async ({ api }) => {
    const { id, token } = await api('POST', '/v1/vms/app/tokens', { expiresAt: soon() })
    const take = () => api('DELETE', `/v1/vms/app/tokens/${id}`)
    return { fields: bearer(String(token)), kinds: WEB, take, refusal: 401 }
  },
  'an API token': async ({ api }) => {
    const scopes = [{ pool: 'default', verbs: ['share'] }]
    const { id, token } = await api('POST', '/v1/tokens', { label: 'ssh', scopes })
    const take = () => api('DELETE', `/v1/tokens/${id}`)
    return { fields: bearer(String(token)), kinds: ALL, take, refusal: 401 }
  },
  'a session': async (fleet, round) => {
    const { session, ...visitor } = await visitorOf(fleet, `visitor-${round}`)
    return {
      ...visitor,
      kinds: WEB,
      take: () => fleet.api('DELETE', `/v1/sessions/${session}`),
      refusal: 401,
    }
  },
  'a user, everywhere': async (fleet, round) => {
    const { user, ...root } = await rootOf(fleet, round, 'leaver')
    return {
      ...root,
      kinds: ALL,
      take: () => fleet.api('DELETE', `/v1/users/${user}/sessions`),
      refusal: 401,
    }
  },
  'an SSH key': async (fleet, round) => {
    const { key, ...root } = await rootOf(fleet, round, 'signer')
    return { ...root, kinds: ALL, take: () => fleet.api('DELETE', `/v1/keys/${key}`), refusal: 401 }
  },
  'a share link and what it let in': async ({ api, edges }) => {
    const { id, url } = await api('POST', '/v1/vms/app/links', { expiresAt: soon(), needsLogin: false })
    const take = () => api('DELETE', `/v1/vms/app/links/${id}?access=end`)
    return { fields: ofPage(await redeem(edges[1], new URL(String(url)))), kinds: WEB, take, refusal: 401 }
  },
  'a public port that strangers use': async ({ api }) => {
    const set = (visibility: string) => api('PUT', '/v1/vms/app/ports/8000', { visibility })
    await set('public')
    return { fields: {}, kinds: WEB, take: () => set('private'), refusal: 401, isStranger: true }
  },
}

/** What is open at the second edge, round after round: milliseconds from the answer of the first to each end. */
async function measure(t: Test, { fleet, source, invite, first }: Measuring): Promise<number[]> {
  const [, far] = fleet.edges as readonly [EdgeProcess, EdgeProcess]
  const waits: number[] = []
  for (let round = first; round < first + ROUNDS; round += 1) {
    const guest = await invite(fleet, round)
    await untilOpen(far, guest.fields)
    const streams = await Promise.all(guest.kinds.map((kind) => source.open(kind, guest.fields)))
    await guest.take()
    const answeredAt = performance.now()
    waits.push(...(await untilEnded(streams, answeredAt)))
    // More than the percentile forgives: no need to wait for the rest.
    if (waits.filter((ms) => ms > LIMIT_MS).length > MAX_SLOW) return waits
    for (const { kind, findFault } of streams) {
      const fault = findFault()
      const isCut = guest.isStranger === true && kind.startsWith('websocket')
      if (fault !== (isCut ? 'heard []' : '')) t.fail(`${kind}: ${fault}`)
    }
    const { status } = await askVm(far, guest.fields)
    if (status !== guest.refusal) t.fail(`then ${status}`)
    for (const stream of streams) stream.destroy()
    if (guest.grant !== undefined) await fleet.api('DELETE', `/v1/vms/app/grants/${guest.grant}`)
  }
  return waits
}

async function untilOpen(edge: EdgeProcess, fields: Fields): Promise<void> {
  let last = ''
  const isOpen = async () => {
    const { status, body } = await askVm(edge, fields)
    last = `${status} ${body}`
    return status === 200
  }
  await until(isOpen, 'the other edge lets them in').catch((cause: unknown) => {
    throw new Error(`the other edge answers ${last}`, { cause })
  })
}

interface Measuring {
  readonly fleet: PrivateFleet
  readonly source: StreamSource
  readonly invite: Invite
  readonly first: number
}

/** As the button of the link's page does. */
async function redeem(edge: EdgeProcess | undefined, url: URL): Promise<string> {
  if (edge === undefined) throw new Error('there is no second edge')
  let cookie = ''
  let last = ''
  const step = async () => {
    const { status, body, setCookie } = await ask(edge, {
      hostname: VM_HOST,
      method: 'POST',
      path: url.pathname,
      headers: { origin: `https://${VM_HOST}`, 'content-type': 'application/x-www-form-urlencoded' },
      body: url.search.slice(1),
    })
    last = `${status} ${body}`
    cookie = /__Host-landfall=[^;]+/.exec(setCookie)?.[0] ?? ''
    return cookie !== ''
  }
  await until(step, 'the link lets somebody in').catch((cause: unknown) => {
    throw new Error(`the link is answered ${last}`, { cause })
  })
  return cookie
}

function quantile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * part) - 1)] ?? Number.NaN
}

async function sceneFor(t: Test) {
  const redis = await redisFor(t)
  const [web, ssh] = [await echoVmFor(t), await rawOriginFor(t, () => {})]
  const fleet = await privateFleetFor(t, {
    redisUrl: `redis://127.0.0.1:${redis.port}`,
    ...{ web: web.port, ssh: ssh.port },
    // Until an edge knows of a credential it is one that does not count.
    env: { LANDFALL_AUTH_RATE: '100000' },
  })
  const [, far] = fleet.edges as readonly [EdgeProcess, EdgeProcess]
  return { fleet, source: await streamSourceFor(t, far) }
}

t.test('what is taken away at one edge ends at the other within a second', async (t) => {
  const scene = await sceneFor(t)
  for (const [name, invite] of Object.entries(INVITES)) {
    let p99 = Number.POSITIVE_INFINITY
    for (let attempt = 0; attempt < ATTEMPTS && p99 >= LIMIT_MS; attempt += 1) {
      const waits = await measure(t, { ...scene, invite, first: attempt * ROUNDS })
      const sorted = waits.toSorted((one, other) => one - other)
      const [median, longest] = [0.5, 1].map((part) => Math.round(quantile(sorted, part)))
      p99 = quantile(sorted, 0.99)
      t.comment(
        `${name}: ${sorted.length} streams, median ${median}, p99 ${Math.round(p99)}, longest ${longest} ms`,
      )
    }
    t.ok(p99 < LIMIT_MS, `${name}: 99 of 100 streams within ${LIMIT_MS} ms (${Math.round(p99)})`)
  }
})
