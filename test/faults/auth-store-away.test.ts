/** Private ports while the store is away, hangs, or its feed stands still: open for a while, then closed, and open again by themselves. */

import { statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pace } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { echoVmFor } from '../helpers/echo-vm.ts'
import { rawOriginFor } from '../helpers/origin.ts'
import { type RedisProcess, redisFor } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'
import { ask } from './ask.ts'
import type { EdgeProcess } from './edge-process.ts'
import { DOMAIN, writeRows } from './numbered-rows.ts'
import { type Fields, streamSourceFor, untilEnded } from './open-streams.ts'
import { askVm, type PrivateFleet, privateFleetFor, VM_HOST } from './private-fleet.ts'

const LIMIT_S = 8
/** Absences count from when the store was last seen to be there, which a quiet one is every five seconds. */
const SEEN_S = 5
/** An edge gives up a command after two seconds, looks once a second at what is open, and this machine is busy. */
const SLACK_S = 6
const PAUSE_MS = 50
const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always']
const STALE = { status: 503, body: /"auth_stale"/ }
const LOGIN_HOST = `auth.${DOMAIN}`

t.setTimeout(120_000)
/** All of them wait most of the time. */
t.jobs = 3

interface Scene {
  readonly redis: RedisProcess
  readonly fleet: PrivateFleet
  readonly edge: EdgeProcess
  /** Of a token that counts, and its id. */
  readonly fields: Fields
  readonly tokenId: string
}

async function sceneFor(t: Test): Promise<Scene> {
  const redis = await redisFor(t, { settings: DURABLE })
  t.teardown(() => redis.signal('SIGCONT'))
  const [web, ssh] = [await echoVmFor(t), await rawOriginFor(t, () => {})]
  const fleet = await privateFleetFor(t, {
    redisUrl: `redis://127.0.0.1:${redis.port}`,
    ...{ edges: 1, web: web.port, ssh: ssh.port },
    env: {
      LANDFALL_AUTH_RATE: '100000',
      LANDFALL_REVOCATION_AWAY_S: String(LIMIT_S),
      LANDFALL_REVOCATION_AGE_S: String(LIMIT_S),
    },
  })
  const [edge] = fleet.edges as readonly [EdgeProcess]
  const expiresAt = new Date(Date.now() + 600_000).toISOString()
  const { id, token } = await fleet.api('POST', '/v1/vms/app/tokens', { expiresAt })
  const fields = { 'x-landfall-authorization': `Bearer ${token}` }
  const scene = { redis, fleet, edge, fields, tokenId: String(id) }
  await untilOpen(scene)
  return scene
}

/** The private port lets the token in again. */
function untilOpen({ edge, fields }: Pick<Scene, 'edge' | 'fields'>): Promise<void> {
  const isOpen = async () => {
    await pace(PAUSE_MS)
    return (await askVm(edge, fields)).status === 200
  }
  return until(isOpen, 'the private port is open', 15_000)
}

/** Seconds from now until the private port is closed; until then it answers, and the public one always does. */
async function untilClosed(t: Test, { edge, fields, fleet }: Scene): Promise<number> {
  const since = performance.now()
  const isClosed = async () => {
    await pace(PAUSE_MS)
    const answer = await askVm(edge, fields)
    await checkPublic(t, edge, fleet)
    if (answer.status === 200) return false
    t.match(answer, STALE)
    return true
  }
  await until(isClosed, 'the private port is closed', 30_000)
  return (performance.now() - since) / 1_000
}

async function checkPublic(t: Test, edge: EdgeProcess, { rows: [row] }: PrivateFleet): Promise<void> {
  const { status } = await ask(edge, { hostname: row?.hostname ?? '' })
  if (status !== 200) t.fail(`the public port answers ${status}`)
}

function checkTime(t: Test, seconds: number): void {
  const [from, to] = [LIMIT_S - SEEN_S - 0.5, LIMIT_S + SLACK_S]
  t.ok(seconds > from && seconds < to, `closed after ${seconds.toFixed(1)} s, between ${from} and ${to}`)
}

interface Outage {
  readonly begin: (redis: RedisProcess) => Promise<void>
  readonly end: (redis: RedisProcess) => Promise<void>
}

const OUTAGES: Readonly<Record<string, Outage>> = {
  'is killed': { begin: (redis) => redis.kill(), end: (redis) => redis.start() },
  hangs: {
    begin: async (redis) => redis.signal('SIGSTOP'),
    end: async (redis) => redis.signal('SIGCONT'),
  },
}

for (const [name, outage] of Object.entries(OUTAGES)) {
  t.test(
    `Redis ${name}: private ports close after a while, with what is open`,
    { buffered: true },
    async (t) => {
      const scene = await sceneFor(t)
      const { redis, fleet, edge, fields } = scene
      const session = await sessionOf(fleet)
      const source = await streamSourceFor(t, edge)
      const kinds = ['websocket', 'events', 'events-h2'] as const
      const streams = await Promise.all(kinds.map((kind) => source.open(kind, fields)))
      await outage.begin(redis)
      const beganAt = performance.now()
      const closing = untilClosed(t, scene)
      const ends = await untilEnded(streams, beganAt, 30_000)
      checkTime(t, await closing)
      for (const ms of ends) checkTime(t, ms / 1_000)
      t.same(
        streams.map((stream) => stream.findFault()),
        ['', '', ''],
      )
      t.match(await askVm(edge), { status: 401, body: /"auth_required"/ }, 'a stranger is told to log in')
      await checkReturn(t, edge)
      await checkStart(t, edge, session)
      await outage.end(redis)
      await untilOpen(scene)
      await fleet.api('DELETE', `/v1/vms/app/tokens/${scene.tokenId}`)
      await until(async () => (await askVm(edge, fields)).status === 401, 'revocations are heard of again')
    },
  )
}

t.test(
  'a feed that stands still while the store answers: nothing revoked outlives the limit',
  { buffered: true },
  async (t) => {
    const scene = await sceneFor(t)
    const { redis, fleet, edge, fields, tokenId } = scene
    const source = await streamSourceFor(t, edge)
    const streams = [await source.open('events', fields), await source.open('websocket-h2', fields)]
    // Nobody may read the feed any more; commands, scripts and writes go on.
    await redis.admin.call('ACL', 'SETUSER', 'default', '-xread', '-xrange')
    // A read that was under way still brings one change.
    await writeRows(fleet.store, [{ hostname: `later0.${DOMAIN}`, number: 1 }], fleet.originPort)
    await until(() => edge.logged().some(({ msg }) => /the access table/.test(msg)), 'the feed is lost')
    await fleet.api('DELETE', `/v1/vms/app/tokens/${tokenId}`)
    const ends = await untilEnded(streams, performance.now(), 30_000)
    for (const ms of ends) {
      t.ok(ms / 1_000 < LIMIT_S + SLACK_S, `what the edge cannot know of ends after ${Math.round(ms)} ms`)
    }
    t.match(await askVm(edge, fields), STALE)
    await checkPublic(t, edge, fleet)
    await redis.admin.call('ACL', 'SETUSER', 'default', '+@all')
    await until(
      async () => (await askVm(edge, fields)).status === 401,
      'the edge knows of the revocation',
      15_000,
    )
  },
)

t.test(
  'an edge that starts while Redis is away serves public ports and no private ones',
  { buffered: true },
  async (t) => {
    const scene = await sceneFor(t)
    const { redis, fleet, edge, fields } = scene
    const { cookie } = await fleet.logIn('ann')
    const knownAt = Date.now()
    const snapshot = join(edge.dataFolder, 'table.snapshot')
    await until(() => savedAt(snapshot) > knownAt, 'the table is saved')
    await edge.kill()
    await redis.kill()
    const again = await fleet.startEdge(edge.name, edge)
    await checkPublic(t, again, fleet)
    t.match(await askVm(again, fields), STALE, 'a token')
    t.match(await askVm(again, { cookie }), STALE, 'a cookie')
    t.match(await askVm(again), { status: 401 }, 'a stranger')
    const begun = { hostname: VM_HOST, path: '/.landfall/login?to=/', headers: NAVIGATION }
    t.match(await ask(again, begun), { status: 503, body: /<html.*#(auth_stale|store_unreachable)/s })
    await redis.start()
    await untilOpen({ edge: again, fields })
  },
)

function savedAt(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

async function sessionOf({ signer }: PrivateFleet): Promise<string> {
  const expiresAt = Math.floor(Date.now() / 1_000) + 600
  return signer.sign({
    kind: 'session',
    audience: LOGIN_HOST,
    subject: 'ann',
    expiresAt,
    claims: { method: 'oidc' },
  })
}

const NAVIGATION = { accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-site': 'none' }
const AWAY_PAGE = { status: 503, body: /<html.*#store_unreachable/s, setCookie: '' }
const WORD = 'x'.repeat(43)

/** Somebody comes back from the login host with a code, which nobody can look up. */
async function checkReturn(t: Test, edge: EdgeProcess): Promise<void> {
  const hostname = VM_HOST
  const begun = await ask(edge, { hostname, path: '/.landfall/login?to=/', headers: NAVIGATION })
  t.equal(begun.status, 303)
  const [cookie = ''] = /__Host-landfall-flow[^=]*=[^;]+/.exec(begun.setCookie) ?? []
  const headers = { ...NAVIGATION, cookie }
  const back = await ask(edge, { hostname, path: `/.landfall/callback?code=${WORD}`, headers })
  t.match(back, { status: 303, location: '/.landfall/login-failed?why=store' })
  const page = await ask(edge, { hostname, path: back.location, headers })
  t.match(page, { status: 503, body: /<html.*#login_interrupted/s })
}

/** Somebody who is logged in already wants to see a VM. */
async function checkStart(t: Test, edge: EdgeProcess, session: string): Promise<void> {
  const headers = { ...NAVIGATION, cookie: `__Host-landfall-session=${session}` }
  const path = `/start?host=${VM_HOST}&challenge=${WORD}`
  t.match(await ask(edge, { hostname: LOGIN_HOST, path, headers }), AWAY_PAGE)
}
