/** What is on the machine for a host's VMs, and what of it should not be. */

import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename, join, relative } from 'node:path'
import type { Test } from 'tap'
import { layersOf, type Manifest, parseManifest } from '../../sidecar/disks/manifest.ts'
import { keyOfVm } from '../../sidecar/vm-id.ts'
import { until } from '../helpers/until.ts'
import { type GuestFleet, POOL, RECOVERY_MS } from './guest-fleet.ts'

export type Role = 'vmm' | 'disk'

export interface GuestProcess {
  readonly pid: number
  readonly role: Role
  readonly slot: number
}

const PROGRAMS: Readonly<Record<string, Role>> = {
  'qemu-system-x86_64': 'vmm',
  'qemu-storage-daemon': 'disk',
}
const CGROUPS = '/sys/fs/cgroup'

/** How every VM of the host should be. */
export interface Expected {
  readonly running: readonly string[]
  readonly asleep?: readonly string[]
  readonly stopped?: readonly string[]
}

type Place = Pick<GuestFleet, 'dataFolder' | 'cgroup' | 'show'>

/** All QEMU processes that work in the data folder, by the folder of sockets in which each stands. */
export function listProcesses({ dataFolder }: Pick<GuestFleet, 'dataFolder'>): readonly GuestProcess[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const role = PROGRAMS[basename(readlinkSync(`/proc/${name}/exe`))]
        const place = relative(join(dataFolder, 'sockets'), readlinkSync(`/proc/${name}/cwd`))
        const slot = Number(/^(\d+)\//.exec(place)?.[1])
        return role !== undefined && slot > 0 ? [{ pid: Number(name), role, slot }] : []
      } catch {
        return []
      }
    })
}

export async function findProcessOf(place: Place, vm: string, role: Role): Promise<number | undefined> {
  const slot = readSlots(place)[await keyOf(place, vm)]
  return listProcesses(place).find((each) => each.slot === slot && each.role === role)?.pid
}

export async function keyOf({ show }: Pick<GuestFleet, 'show'>, name: string): Promise<string> {
  return keyOfVm({ name, createdAt: (await show(name)).createdAt })
}

export function readManifest({ dataFolder }: Pick<GuestFleet, 'dataFolder'>, key: string): Manifest {
  return parseManifest(readFileSync(join(dataFolder, 'vms', key, 'disk.json'), 'utf8'))
}

/** Waits until there is exactly what should be. */
export async function untilTidy(t: Test, place: Place, expected: Expected): Promise<void> {
  const last: { mess: readonly string[] } = { mess: [] }
  const isTidy = async () => {
    last.mess = await findMess(place, expected).catch((error: unknown) => [String(error)])
    return last.mess.length === 0
  }
  await until(isTidy, 'there is what there should be', RECOVERY_MS).catch(() => undefined)
  t.same(last.mess, [], 'there is what there should be, and nothing else')
}

async function findMess(place: Place, expected: Expected): Promise<readonly string[]> {
  const keysOf = (names: readonly string[] = []) => Promise.all(names.map((name) => keyOf(place, name)))
  const [running, asleep, stopped] = await Promise.all(
    [expected.running, expected.asleep, expected.stopped].map(keysOf),
  )
  const kept = { running: running ?? [], asleep: asleep ?? [], stopped: stopped ?? [] }
  const all = [...kept.running, ...kept.asleep, ...kept.stopped]
  return [
    ...findProcessMess(place, kept.running),
    ...differences('group', listGroups(place), kept.running),
    ...differences('folder', readdirSync(join(place.dataFolder, 'vms')), all),
    ...differences('slot', Object.keys(readSlots(place)), all),
    ...differences(
      'sleeper',
      all.filter((key) => isThere(place, key, 'suspended')),
      kept.asleep,
    ),
    ...differences(
      'run record',
      all.filter((key) => isThere(place, key, 'run/run.json')),
      kept.running,
    ),
    ...all.flatMap((key) =>
      ['suspended.new', 'suspended.used', 'run/run.json.new', 'disk.json.new', 'shorten']
        .filter((name) => isThere(place, key, name))
        .map((name) => `${key} has ${name}`),
    ),
    ...findSocketMess(place, { all, running: kept.running }),
    ...findLayerMess(place, all),
  ]
}

function findProcessMess(place: Place, running: readonly string[]): readonly string[] {
  const slots = readSlots(place)
  const found = listProcesses(place).map(({ role, slot }) => `${role} in slot ${slot}`)
  const wanted = running.flatMap((key) => [`vmm in slot ${slots[key]}`, `disk in slot ${slots[key]}`])
  const twice = found.filter((one, index) => found.indexOf(one) !== index)
  return [...twice.map((one) => `two processes: ${one}`), ...differences('process', found, wanted)]
}

function findSocketMess(
  { dataFolder, ...place }: Place,
  { all, running }: Record<'all' | 'running', readonly string[]>,
) {
  const slots = readSlots({ dataFolder, ...place })
  const folder = join(dataFolder, 'sockets')
  const found = existsSync(folder) ? readdirSync(folder) : []
  const known = new Set(all.map((key) => String(slots[key])))
  const open = found.filter((slot) => existsSync(join(folder, slot, 'io', 'qmp')))
  return [
    ...found.filter((slot) => !known.has(slot)).map((slot) => `sockets of slot ${slot}, which nobody has`),
    ...differences(
      'QMP socket',
      open,
      running.map((key) => String(slots[key])),
    ),
  ]
}

/** Layers that nobody names, names without a layer, and cuts that are neither made nor undone. */
function findLayerMess(place: Place, keys: readonly string[]): readonly string[] {
  const manifests = keys.map((key) => readManifest(place, key))
  const folder = join(place.dataFolder, 'disks', POOL)
  const found = existsSync(folder) ? readdirSync(folder) : []
  const named = manifests.flatMap((manifest) => [...layersOf(manifest)].map((layer) => `${layer}.qcow2`))
  const halves = manifests.filter(({ next }) => next !== undefined)
  return [
    ...differences('layer', found, [...new Set(named)]),
    ...halves.map(() => 'a cut that is not settled'),
  ]
}

function listGroups({ cgroup }: Pick<GuestFleet, 'cgroup'>): readonly string[] {
  const trees = ['unified', 'cpu', 'memory', '.']
    .map((tree) => join(CGROUPS, tree, cgroup))
    .filter(existsSync)
  const folders = trees.flatMap((tree) =>
    readdirSync(tree, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => join(tree, name, 'pools', `${POOL}.pool`)),
  )
  const groups = folders.filter(existsSync).flatMap((folder) =>
    readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name),
  )
  return [...new Set(groups)]
}

function readSlots({ dataFolder }: Pick<GuestFleet, 'dataFolder'>): Readonly<Record<string, number>> {
  const file = join(dataFolder, 'slots.json')
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).slots : {}
}

function isThere({ dataFolder }: Pick<GuestFleet, 'dataFolder'>, key: string, name: string): boolean {
  return existsSync(join(dataFolder, 'vms', key, name))
}

function differences(what: string, found: readonly string[], wanted: readonly string[]): readonly string[] {
  return [
    ...found.filter((one) => !wanted.includes(one)).map((one) => `${what} too many: ${one}`),
    ...wanted.filter((one) => !found.includes(one)).map((one) => `${what} missing: ${one}`),
  ]
}
