/** The steps of a VM's life, each as a wish that is made and not waited for, and what has to be once it has come true. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { until } from '../helpers/until.ts'
import { GUEST_BYTES, type GuestFleet, RECOVERY_MS } from './guest-fleet.ts'
import { type Expected, keyOf, readManifest } from './guest-mess.ts'
import { findLost, readRecords, type Written } from './guest-records.ts'

const MIB = 1_048_576
const GROWTH_BYTES = 64 * MIB
const RESIZED_BYTES = GUEST_BYTES + 8 * MIB
export const VM = 'vm'
const COPY = 'copy'
/** A copy has its own say in who gets in. */
const PUBLIC = { 8000: { visibility: 'public' } }
const RUNNING: Expected = { running: [VM] }

export interface Scene {
  readonly t: Test
  readonly fleet: GuestFleet
  /** What the VM said that it has on its disk. */
  written: readonly Written[]
  /** The last snapshot that is ready, and what had been written when it was asked for. */
  snapshot?: { readonly id: string; readonly written: readonly Written[] }
  number: number
}

export interface Step {
  readonly name: string
  /** About as long as it takes. */
  readonly ms: number
  readonly wish: (scene: Scene) => Promise<void>
  /** Waits until it has come true; answers with what there is then. */
  readonly comesTrue: (scene: Scene) => Promise<Expected>
}

export const STEPS = {
  create: {
    name: 'create',
    ms: 4_000,
    wish: ({ fleet }) => fleet.makeVm(VM),
    comesTrue: async (scene) => {
      await answers(scene)
      return RUNNING
    },
  },
  snapshot: {
    name: 'snapshot',
    ms: 300,
    wish: async (scene) => {
      await answers(scene)
      const { written } = scene
      const id = await askSnapshot(scene)
      scene.snapshot = { id, written }
    },
    comesTrue: async (scene) => {
      const { fleet, snapshot } = scene
      const { state, message = '' } = await untilTaken(fleet, snapshot?.id ?? '')
      if (state === 'failed') {
        scene.t.not(message, '', 'a snapshot that failed says why')
        const { written } = scene
        const id = await askSnapshot(scene)
        scene.snapshot = { id, written }
        scene.t.equal((await untilTaken(fleet, id)).state, 'ready', 'the next one is ready')
      }
      await answers(scene)
      return RUNNING
    },
  },
  copy: {
    name: 'copy',
    ms: 4_000,
    wish: async (scene) => {
      await answers(scene)
      await must(scene.fleet, 'PUT', `/v1/vms/${COPY}`, { source: { vm: VM }, ports: PUBLIC })
    },
    comesTrue: async (scene) => {
      const { fleet, written } = scene
      await fleet.untilAnswers(COPY, 1)
      scene.t.same(
        findLost(await readRecords(fleet.edge, COPY), written),
        [],
        'the copy has what was on disk when it was asked for',
      )
      await must(fleet, 'DELETE', `/v1/vms/${COPY}`)
      await answers(scene)
      return RUNNING
    },
  },
  grow: {
    name: 'grow',
    ms: 400,
    wish: async (scene) => {
      await answers(scene)
      const diskBytes = (scene.written.at(-1)?.diskBytes ?? 0) + GROWTH_BYTES
      await must(scene.fleet, 'PUT', `/v1/vms/${VM}`, { diskBytes })
    },
    comesTrue: async (scene) => {
      const { fleet } = scene
      const wanted = Number((await fleet.show(VM)).diskBytes)
      const key = await keyOf(fleet, VM)
      await until(() => readManifest(fleet, key).sizeBytes >= wanted, 'the disk is larger', RECOVERY_MS)
      // Before QEMU 8.1 the process that serves a disk tells nobody of its new size: a guest sees it after its next boot.
      if ((await answers(scene)).diskBytes < wanted)
        await must(fleet, 'POST', `/v1/vms/${VM}/restart?wait=25`)
      const isGrown = async () => (await answers(scene)).diskBytes >= wanted
      await until(isGrown, 'the guest has a larger disk', RECOVERY_MS)
      return RUNNING
    },
  },
  restore: {
    name: 'restore',
    ms: 3_000,
    wish: async (scene) => {
      await answers(scene)
      await must(scene.fleet, 'POST', `/v1/vms/${VM}/restore`, { snapshot: scene.snapshot?.id })
    },
    comesTrue: async (scene) => {
      const { fleet, snapshot } = scene
      const before = scene.written.at(-1)?.number ?? 0
      const key = await keyOf(fleet, VM)
      const isBack = () => readManifest(fleet, key).restored?.id === snapshot?.id
      await until(isBack, 'the disk is what it was', RECOVERY_MS)
      scene.written = snapshot?.written ?? []
      await answers(scene)
      const records = await readRecords(fleet.edge, VM)
      scene.t.notOk(records.includes(before), 'what came after the snapshot is not on the disk any more')
      const isKept = async () => {
        const { json } = await fleet.api('GET', `/v1/vms/${VM}/snapshots`)
        const { snapshots = [] } = json as { snapshots?: readonly { kind: string; state: string }[] }
        return snapshots.some(({ kind, state }) => kind === 'kept' && state === 'ready')
      }
      await until(isKept, 'the table knows of the disk before it', RECOVERY_MS)
      return RUNNING
    },
  },
  suspend: {
    name: 'suspend',
    ms: 400,
    wish: async (scene) => {
      await answers(scene)
      await must(scene.fleet, 'POST', `/v1/vms/${VM}/suspend`)
    },
    comesTrue: async ({ fleet }) => {
      const isAnswered = async () => (await fleet.store.get(`call/${VM}`)) === undefined
      await until(isAnswered, 'the call is answered', RECOVERY_MS)
      const isAsleep = async () => {
        const { report } = await fleet.show(VM)
        // What died may have been the VM: it runs again then, and is called again.
        if (report?.state === 'running') await fleet.api('POST', `/v1/vms/${VM}/suspend?wait=20`)
        return report?.state === 'asleep'
      }
      await until(isAsleep, 'the VM sleeps', RECOVERY_MS)
      return { running: [], asleep: [VM] }
    },
  },
  wake: {
    name: 'wake',
    ms: 500,
    wish: async (scene) => {
      void answers(scene).catch(() => undefined)
    },
    comesTrue: async (scene) => {
      await answers(scene)
      return RUNNING
    },
  },
  resize: {
    name: 'resize',
    ms: 1_000,
    wish: async (scene) => {
      await answers(scene)
      await must(scene.fleet, 'PUT', `/v1/vms/${VM}`, { memoryBytes: RESIZED_BYTES })
    },
    comesTrue: async (scene) => {
      const { fleet } = scene
      const file = join(fleet.dataFolder, 'vms', await keyOf(fleet, VM), 'run', 'run.json')
      const isResized = async () => {
        const text = await readFile(file, 'utf8').catch(() => '{}')
        return JSON.parse(text).machine?.memoryBytes === RESIZED_BYTES
      }
      await until(isResized, 'the VM has another size', RECOVERY_MS)
      await answers(scene)
      return RUNNING
    },
  },
  stop: {
    name: 'stop',
    ms: 1_000,
    wish: async (scene) => {
      await answers(scene)
      await must(scene.fleet, 'PUT', `/v1/vms/${VM}`, { state: 'stopped' })
    },
    comesTrue: async ({ fleet }) => {
      await fleet.untilState(VM, 'stopped')
      return { running: [], stopped: [VM] }
    },
  },
  start: {
    name: 'start',
    ms: 4_000,
    wish: ({ fleet }) => must(fleet, 'PUT', `/v1/vms/${VM}`, { state: 'running' }),
    comesTrue: async (scene) => {
      await answers(scene)
      return RUNNING
    },
  },
  delete: {
    name: 'delete',
    ms: 1_000,
    wish: async (scene) => {
      await answers(scene)
      await must(scene.fleet, 'DELETE', `/v1/vms/${VM}`)
    },
    comesTrue: async (scene) => {
      scene.written = []
      delete scene.snapshot
      return { running: [] }
    },
  },
} as const satisfies Record<string, Step>

/** Writes one record more. */
async function answers(scene: Scene): Promise<Written> {
  scene.number += 1
  const answer = await scene.fleet.untilAnswers(VM, scene.number)
  scene.written = [...scene.written, answer]
  return answer
}

async function askSnapshot({ fleet }: Scene): Promise<string> {
  const { status, json } = await fleet.api('POST', `/v1/vms/${VM}/snapshots`, {})
  if (status !== 201) throw new Error(`no snapshot: ${status} ${JSON.stringify(json)}`)
  return String(json.id)
}

async function untilTaken(
  { api }: GuestFleet,
  id: string,
): Promise<{ readonly state: string; readonly message?: string }> {
  const last = { state: 'wanted' }
  const isTaken = async () => {
    Object.assign(last, (await api('GET', `/v1/vms/${VM}/snapshots/${id}`)).json)
    return last.state === 'ready' || last.state === 'failed'
  }
  await until(isTaken, 'the snapshot is ready, or has failed', RECOVERY_MS)
  return last
}

async function must({ api }: GuestFleet, method: string, path: string, body?: unknown): Promise<void> {
  const { status, json } = await api(method, path, body)
  if (status >= 300) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(json)}`)
}
