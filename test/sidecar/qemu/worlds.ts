/** A host's driver for QEMU with all that it needs, in a folder of the test's own. */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Log } from '../../../lib/log.ts'
import type { Address } from '../../../routing/records/records.ts'
import { startDisks } from '../../../sidecar/disks/local-disks.ts'
import { createTemplates } from '../../../sidecar/guests/template-store.ts'
import { createMetadata, type GuestFacts } from '../../../sidecar/metadata/metadata.ts'
import { openIdentity } from '../../../sidecar/metadata/ssh-identity.ts'
import { openGuestNetwork } from '../../../sidecar/network/open-guest-network.ts'
import { createNoGroups } from '../../../sidecar/pools/cgroup-none.ts'
import type { QemuSettings } from '../../../sidecar/qemu/qemu-parts.ts'
import { createQemuVmm, type QemuVmm } from '../../../sidecar/qemu/qemu-vmm.ts'
import { openSlots } from '../../../sidecar/slots.ts'
import { keyOfVm } from '../../../sidecar/vm-id.ts'
import type { RunningVm, VmSpec } from '../../../sidecar/vmm.ts'
import { folderFor } from '../../helpers/folder.ts'
import { guestFolder } from '../../helpers/guests.ts'

const MIB = 1_048_576
const CREATED_AT = '2026-11-22T21:13:54.000Z'

export interface World extends AsyncDisposable {
  readonly folder: string
  readonly vmm: QemuVmm
  /** What was logged at `warn` and above. */
  readonly complaints: string[]
}

export function specOf(name: string, more: Partial<VmSpec> = {}): VmSpec {
  return { name, createdAt: CREATED_AT, pool: 'p', image: 'hello', memoryBytes: 128 * MIB, cpus: 1, ...more }
}

/** What a sidecar has; a second one at the same folder is the next sidecar. Disposal lets VMs run on. */
export async function openWorld(folder: string, settings: Partial<QemuSettings> = {}): Promise<World> {
  const guests = await guestFolder()
  const complaints: string[] = []
  const write: Log['warn'] = (fields, message) => {
    complaints.push(`${message}: ${String(fields.err ?? fields.error ?? '')}`)
  }
  const ignore: Log['info'] = () => undefined
  const log: Log = { debug: ignore, info: ignore, warn: write, error: write }
  await using parts = new AsyncDisposableStack()
  const facts = new Map<string, GuestFacts>()
  const metadata = createMetadata({ find: (key) => Promise.resolve(facts.get(key)) })
  const disks = parts.use(await startDisks({ folder, log }))
  const network = parts.use(await openGuestNetwork({ log, metadata }, { kind: 'user' }))
  const slots = await openSlots(folder)
  const identify = async (spec: VmSpec) => {
    const identity = await openIdentity(join(folder, 'vms', keyOfVm(spec), 'identity'))
    facts.set(keyOfVm(spec), { ...spec, identity })
    return { hostKey: identity.publicKey }
  }
  const templates = createTemplates(guests)
  const groups = createNoGroups()
  const deps = { disks, network, slots, templates, groups, identify, log }
  const vmm = createQemuVmm(deps, { folder, accel: 'tcg', ...settings })
  const kept = parts.move()
  return { folder, vmm, complaints, [Symbol.asyncDispose]: () => kept.disposeAsync() }
}

/** Ends with the test, and every VM in it. */
export async function worldFor(t: Test, settings: Partial<QemuSettings> = {}): Promise<World> {
  const folder = folderFor(t)
  const world = await openWorld(folder, settings)
  t.teardown(async () => {
    await world.vmm.sweep([])
    await world[Symbol.asyncDispose]()
  })
  return world
}

/** The body of a 200. @throws Error otherwise */
export function get({ host, port }: Address, path = '/'): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const asked = request({ host, port, path, agent: false, timeout: 5_000 }, (response) => {
    let body = ''
    response.setEncoding('utf8')
    response.on('data', (text: string) => {
      body += text
    })
    response.on('end', () => (response.statusCode === 200 ? resolve(body) : reject(new Error(body))))
    response.on('error', reject)
  })
  asked.on('timeout', () => asked.destroy(new Error('no answer')))
  asked.on('error', reject)
  asked.end()
  return promise
}

export function addressOf(vm: RunningVm, port = 8000): Address {
  const address = vm.facts.ports[port]
  if (!address) throw new Error(`the guest has no port ${port}: ${Object.keys(vm.facts.ports).join()}`)
  return address
}

export interface GuestAnswer {
  /** How often it was asked since it booted. */
  readonly asked: number
  /** How often ever, as its disk knows. */
  readonly written: number
  readonly timeMs: number
  readonly random: string
  /** As the guest sees it. */
  readonly diskBytes: number
  /** Of the root file system. */
  readonly rootBytes: number
}

/** Needs the guest's memory, disk, clock and random numbers. */
export async function askGuest(vm: RunningVm): Promise<GuestAnswer> {
  const text = await get(addressOf(vm), '/cgi-bin/facts.cgi')
  const [asked, written, seconds, random = '', sectors, kib] = text.trim().split(' ')
  const sizes = { diskBytes: Number(sectors) * 512, rootBytes: Number(kib) * 1_024 }
  return { asked: Number(asked), written: Number(written), timeMs: Number(seconds) * 1_000, random, ...sizes }
}

/** Processes that have the folder on their command line or run in it: VMMs, disks, and their jails. */
export function processesOf(folder: string): readonly number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid !== process.pid)
    .filter((pid) => commandOf(pid).join(' ').includes(folder) || folderOfProcess(pid).startsWith(folder))
}

/** Empty when it is gone, or has ended and waits for its parent. */
export function commandOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1)
  } catch {
    return []
  }
}

function folderOfProcess(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return ''
  }
}

/** The one process in the folder that runs this program. @throws Error when there is none */
export function pidOf(folder: string, program: string): number {
  const pid = processesOf(folder).find((each) => commandOf(each)[0] === program)
  if (pid === undefined) throw new Error(`no ${program} runs in ${folder}`)
  return pid
}
