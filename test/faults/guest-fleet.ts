/** Real guests under a fleet: Redis, an edge, and a host with one pool, each a process that a test can end. */

import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { Test } from 'tap'
import type { Store } from '../../routing/store/store.ts'
import { folderFor } from '../helpers/folder.ts'
import { endProcessesOf, removeGroups } from '../helpers/guest-landfall.ts'
import { type RedisProcess, redisFor } from '../helpers/redis.ts'
import { until } from '../helpers/until.ts'
import { apiTokenFor } from './api-token.ts'
import { ask } from './ask.ts'
import { type EdgeProcess, edgeProcessFor } from './edge-process.ts'
import { storeFor } from './fleet.ts'
import { RECORDS_IMAGE, recordsDataFor, type Written, write } from './guest-records.ts'
import { type HostProcess, hostProcessFor } from './host-process.ts'
import { DOMAIN } from './numbered-rows.ts'

const MIB = 1_048_576
export const GUEST_BYTES = 96 * MIB
export const POOL = 'pool'
/** A fault and what follows it, beside other tests on two processors. */
export const RECOVERY_MS = 60_000
const HOST = 'local'
/** What is acknowledged stays, as a fleet's store has to keep it. */
const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always']

export interface ApiAnswer {
  readonly status: number
  readonly json: Readonly<Record<string, unknown>>
}

export interface VmView {
  readonly createdAt: string
  readonly diskBytes?: number
  readonly state: string
  readonly report?: { readonly state: string; readonly message?: string }
}

export interface GuestFleet {
  readonly redis: RedisProcess
  readonly edge: EdgeProcess
  readonly store: Store
  readonly dataFolder: string
  readonly cgroup: string
  /** The one that was started last. */
  readonly host: () => HostProcess
  /** Starts one again, and returns at once; nobody waits for the lease of one that was killed. */
  readonly startHost: () => Promise<HostProcess>
  readonly api: (method: string, path: string, body?: unknown) => Promise<ApiAnswer>
  readonly makeVm: (name: string, body?: Readonly<Record<string, unknown>>) => Promise<void>
  readonly show: (name: string) => Promise<VmView>
  /** Until the VM answers through the edge; with what it answered to writing the record `number`. */
  readonly untilAnswers: (name: string, number: number) => Promise<Written>
  readonly untilState: (name: string, state: string) => Promise<void>
}

/** Its host is ready, its pool is there, and there are no VMs. */
export async function guestFleetFor(t: Test): Promise<GuestFleet> {
  const dataFolder = await recordsDataFor(t)
  const cgroup = `${basename(dirname(dataFolder))}-group`
  t.teardown(() => removeGroups(cgroup))
  t.teardown(() => endProcessesOf(dataFolder))
  endAtExit(dataFolder)
  const redis = await redisFor(t, { settings: DURABLE })
  const redisUrl = `redis://127.0.0.1:${redis.port}`
  const secretKeyFile = join(folderFor(t), 'secret.key')
  writeFileSync(secretKeyFile, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 })
  const edge = await edgeProcessFor(t, { name: 'edge', redisUrl, secretKeyFile })
  const store = await storeFor(t, { redisUrl })
  const token = await apiTokenFor({ edges: [edge] })
  const current = { host: hostProcessFor(t, { redisUrl, dataFolder, cgroup }) }
  await current.host.untilReady()
  const api = createApi(edge, token)
  await must(api, 'PUT', `/v1/pools/${POOL}`, {
    ...{ cpuMillis: 2_000, memoryBytes: 1_024 * MIB, diskBytes: 8_192 * MIB, host: HOST },
  })
  const show = async (name: string) => (await api('GET', `/v1/vms/${name}`)).json as unknown as VmView
  return {
    ...{ redis, edge, store, dataFolder, cgroup, api, show },
    host: () => current.host,
    startHost: async () => {
      const lease = await store.findLease(`host/${HOST}`)
      if (lease && !current.host.isRunning()) await store.releaseLease(lease)
      current.host = hostProcessFor(t, { redisUrl, dataFolder, cgroup })
      return current.host
    },
    makeVm: (name, body = {}) =>
      must(api, 'PUT', `/v1/vms/${name}`, {
        ...{ pool: POOL, image: RECORDS_IMAGE, memoryBytes: GUEST_BYTES, cpus: 1 },
        ...{ ports: { 8000: { visibility: 'public' } }, ...body },
      }),
    untilAnswers: async (name, number) => {
      const last: { answer?: Written; error?: unknown } = {}
      const answers = () =>
        write(edge, name, number).then(
          (answer) => {
            last.answer = answer
            return true
          },
          (error: unknown) => {
            last.error = error
            return false
          },
        )
      await until(answers, `${name} answers`, RECOVERY_MS).catch(() => undefined)
      if (last.answer) return last.answer
      throw new Error(`${name} does not answer: ${last.error}; ${JSON.stringify((await show(name)).report)}`)
    },
    untilState: (name, state) =>
      until(async () => (await show(name)).report?.state === state, `${name} is ${state}`, RECOVERY_MS),
  }
}

function createApi(edge: EdgeProcess, token: string): GuestFleet['api'] {
  return async (method, path, body) => {
    const payload = body === undefined ? undefined : JSON.stringify(body)
    const answer = await ask(edge, {
      hostname: `admin.${DOMAIN}`,
      ...{ method, path, body: payload },
      headers: {
        authorization: `Bearer ${token}`,
        ...(payload !== undefined && { 'content-type': 'application/json' }),
      },
    })
    return { status: answer.status, json: answer.body.startsWith('{') ? JSON.parse(answer.body) : {} }
  }
}

async function must(api: GuestFleet['api'], ...[method, path, body]: Parameters<GuestFleet['api']>) {
  const { status, json } = await api(method, path, body)
  if (status >= 300) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(json)}`)
}

/** A test that runs out of time is torn down by nobody, and what a host leaves behind outlives it. */
function endAtExit(dataFolder: string): void {
  const end = () => {
    for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
      try {
        const isOurs = readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(dataFolder)
        if (isOurs && Number(name) !== process.pid) process.kill(Number(name), 'SIGKILL')
      } catch {
        // It has ended by itself.
      }
    }
  }
  process.once('exit', end)
  process.once('SIGTERM', () => {
    end()
    process.kill(process.pid, 'SIGTERM')
  })
}
