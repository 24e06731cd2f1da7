/** One run of a VM under QEMU: its ports, its end, its sleep. */

import type { Log } from '../../lib/log.ts'
import type { Address } from '../../routing/records/records.ts'
import type { Disks, OpenDisk } from '../disks/disks.ts'
import { SidecarError } from '../errors.ts'
import type { Agent } from '../hypervisor/agent.ts'
import type { ConsoleLog } from '../hypervisor/console-log.ts'
import { GuestKeys } from '../hypervisor/guest-keys.ts'
import { completeMemory, dropMemory, dropUnfinished } from '../hypervisor/memory-file.ts'
import { limitOutput } from '../hypervisor/output-limit.ts'
import { type RunRecord, writeRunRecord } from '../hypervisor/run-record.ts'
import type { SocketFolder, VmFolder } from '../hypervisor/vm-folder.ts'
import type { ProcessExit } from '../launch.ts'
import type { GuestLink, GuestNetwork, GuestPlace } from '../network/guest-network.ts'
import type { GroupUsage, VmGroup, VmShare } from '../pools/pool-groups.ts'
import { type ProcessIdentity, signalProcess } from '../process-identity.ts'
import { sampleProcesses } from '../process-usage.ts'
import type { Qmp } from '../qmp/qmp-client.ts'
import type { RunningVm, VmActivity, VmExit, VmFacts, VmSpec, VmUsage } from '../vmm.ts'
import { HostForwards } from './host-forwards.ts'
import { saveMemory } from './migration.ts'
import type { QemuMachine } from './qemu-arguments.ts'
import { endRun, readLastLog } from './run-end.ts'

const DEFAULT_WEIGHT = 100
/** The share of its memory that a VM keeps when its pool runs short: about what a small system needs to go on. */
const LOW_MEMORY_SHARE = 1 / 8
const MEASURE_EVERY_MS = 60_000

export interface QemuVmParts {
  readonly spec: VmSpec
  readonly record: RunRecord<QemuMachine>
  readonly folder: VmFolder
  readonly sockets: SocketFolder
  readonly place: GuestPlace
  readonly link: GuestLink
  readonly group: VmGroup
  readonly disk: OpenDisk
  readonly disks: Pick<Disks, 'grow' | 'measure'>
  readonly network: Pick<GuestNetwork, 'update' | 'detach'>
  readonly identity: ProcessIdentity
  /** How the VMM ended; empty when only its end can be seen. */
  readonly ended: Promise<Partial<ProcessExit>>
  /** Ends the watch over the VMM. */
  readonly letGo?: AbortController
  readonly qmp: Qmp
  readonly agent: Agent
  readonly console: ConsoleLog
  readonly uid?: number
  /** Tells the metadata service what the VM is now. */
  readonly identify: (spec: VmSpec) => Promise<unknown>
  readonly hostKey?: string
  readonly log: Log
}

export function shareOf({ weight = DEFAULT_WEIGHT }: VmSpec, { memoryBytes }: QemuMachine): VmShare {
  return { weight, memoryLowBytes: Math.floor(memoryBytes * LOW_MEMORY_SHARE) }
}

export class QemuVm implements RunningVm {
  readonly name: string
  readonly exited: Promise<VmExit>
  readonly parts: QemuVmParts
  readonly keys: GuestKeys
  readonly #forwards: HostForwards
  #spec: VmSpec
  #record: RunRecord<QemuMachine>
  #facts: VmFacts
  #onFacts: ((facts: VmFacts) => void) | undefined
  #cpuSeconds = 0
  #disk = { bytes: 0, at: Number.NEGATIVE_INFINITY }
  #isSuspended = false
  #suspending: Promise<void> | undefined
  #isDetached = false
  #isPoweringOff = false
  #saving: Promise<unknown> = Promise.resolve()
  #updating: Promise<unknown> = Promise.resolve()

  constructor(parts: QemuVmParts) {
    const { record, hostKey, agent, log } = parts
    this.name = parts.spec.name
    this.parts = parts
    this.#spec = parts.spec
    this.#record = record
    this.#forwards = new HostForwards(parts.qmp)
    const { defaultPort } = record
    this.#facts = {
      ports: {},
      ...(defaultPort !== undefined && { defaultPort }),
      ...(hostKey !== undefined && { hostKey }),
    }
    this.keys = new GuestKeys({
      ...{ vm: this.name, agent, log, given: record.keys },
      note: (keys) => this.#note({ keys }),
    })
    this.exited = this.#watchEnd()
    agent.onPorts((ports) => void this.setPorts(ports))
  }

  get facts(): VmFacts {
    return this.#facts
  }

  onFacts(listener: (facts: VmFacts) => void): void {
    this.#onFacts = listener
  }

  /** Never rejects. */
  async setPorts(ports: readonly number[]): Promise<void> {
    try {
      this.#facts = { ...this.#facts, ports: await this.#dial(ports) }
      this.#onFacts?.(this.#facts)
      await this.#note({ ports })
    } catch (error) {
      if (this.#isDetached) return
      this.parts.log.warn({ vm: this.name, err: error }, 'ports of a VM could not be told')
    }
  }

  /** One write after the other; none once the run is over. */
  #note(news: Pick<Partial<RunRecord<QemuMachine>>, 'ports' | 'keys'>): Promise<void> {
    const record = { ...this.#record, ...news }
    this.#record = record
    const saving = this.#saving.then(() => writeRunRecord(this.parts.folder.runFile, record))
    this.#saving = saving.catch(() => undefined)
    return saving
  }

  async #dial(ports: readonly number[]): Promise<Readonly<Record<string, Address>>> {
    const { link } = this.parts
    if (link.kind === 'user') return this.#forwards.set(ports)
    return Object.fromEntries(ports.map((port) => [port, link.addressOf(port)]))
  }

  async stop(graceMs: number): Promise<VmExit> {
    // A guest that stands still hears of nothing: it is asleep in a moment, or goes on.
    await this.#suspending?.catch(() => undefined)
    const timer = setTimeout(() => this.kill(), graceMs)
    if (!this.#isPoweringOff && graceMs > 0) {
      this.#isPoweringOff = true
      this.parts.agent.request('poweroff', undefined, graceMs).catch(() => undefined)
    }
    try {
      return await this.exited
    } finally {
      clearTimeout(timer)
    }
  }

  /** Its disk is another process's and takes no harm. */
  kill(): void {
    signalProcess(this.parts.identity, 'SIGKILL')
  }

  /** Asked for by several at once, it is done once. */
  suspend(): Promise<void> {
    this.#suspending ??= this.#suspend().finally(() => {
      this.#suspending = undefined
    })
    return this.#suspending
  }

  async #suspend(): Promise<void> {
    const { qmp, folder, sockets, uid, log } = this.parts
    try {
      await qmp.execute('stop')
      const place = { qmp, io: sockets.io, suspended: folder.suspended, ...(uid !== undefined && { uid }) }
      const { machine, ports, keys, defaultPort } = this.#record
      const saved = await saveMemory(place, machine)
      const port = defaultPort === undefined ? {} : { defaultPort }
      await completeMemory(folder.suspended, { ...saved, machine, ports, keys, ...port })
    } catch (cause) {
      log.warn({ vm: this.name, err: cause }, 'a VM could not be suspended; it goes on')
      await this.#goOn()
      throw new SidecarError('vm_suspend_failed', { cause, detail: String(cause) })
    }
    this.#isSuspended = true
    // The guest stands still and is on disk: there is nothing to end well.
    this.kill()
    await this.exited
  }

  /** What was saved is void before the guest moves. */
  async #goOn(): Promise<void> {
    const { folder, qmp } = this.parts
    try {
      await dropUnfinished(folder.suspended)
      await dropMemory(folder.suspended)
      await qmp.execute('cont')
    } catch {
      // One that can neither sleep nor go on is ended, and its host starts it again.
      this.kill()
    }
  }

  async detach(): Promise<void> {
    this.#isDetached = true
    this.keys.close()
    await this.#saving
    const { agent, qmp, console, disk, letGo } = this.parts
    letGo?.abort()
    disk.detach()
    agent.close()
    qmp.close()
    await console.letGo()
  }

  /** One change after the other. */
  async update(spec: VmSpec): Promise<void> {
    const updating = this.#updating.then(() => this.#update(spec))
    this.#updating = updating.catch(() => undefined)
    return updating
  }

  async #update(spec: VmSpec): Promise<void> {
    const before = this.#spec
    this.#spec = spec
    const { group, network, place, disks, agent, record } = this.parts
    const { weight, egress = 'open', peers = [], diskBytes } = spec
    await this.parts.identify(spec)
    const keysGiven = this.keys.want(spec.authorizedKeys)
    await network.update({ ...place, egress, peers })
    if (weight !== before.weight) await group.setShare(shareOf(spec, record.machine))
    if (diskBytes !== undefined && diskBytes > (before.diskBytes ?? 0)) {
      await disks.grow(spec, diskBytes)
      await agent.request('grow')
    }
    await keysGiven
  }

  async sampleActivity(): Promise<VmActivity | undefined> {
    const [counts, { cpuSeconds }] = await Promise.all([
      this.parts.agent.countConnections(),
      this.#sampleUsage(),
    ])
    return counts && { ...counts, cpuSeconds }
  }

  async sampleUsage(): Promise<VmUsage> {
    const { disks, folder } = this.parts
    await Promise.all([folder.vmmLog, folder.diskLog].map(limitOutput))
    if (performance.now() - this.#disk.at > MEASURE_EVERY_MS) {
      this.#disk = { bytes: await disks.measure(this.#spec), at: performance.now() }
    }
    const { cpuSeconds, memoryBytes } = await this.#sampleUsage()
    this.#cpuSeconds = Math.max(this.#cpuSeconds, cpuSeconds)
    return {
      vm: this.name,
      run: this.#record.run,
      seconds: Math.max(0, (Date.now() - this.#record.startedAt) / 1_000),
      cpuSeconds: this.#cpuSeconds,
      memoryBytes,
      diskBytes: this.#disk.bytes,
    }
  }

  /** Without cgroups, what its VMM alone uses. */
  async #sampleUsage(): Promise<GroupUsage> {
    const usage = await this.parts.group.sampleUsage().catch(() => undefined)
    if (usage) return usage
    const { pid } = this.parts.identity
    return (await sampleProcesses([pid])).get(pid) ?? { cpuSeconds: 0, memoryBytes: 0 }
  }

  async #watchEnd(): Promise<VmExit> {
    const { ended, disk, console, folder, log } = this.parts
    const first = await Promise.race([ended, disk.exited.then(() => 'disk' as const)])
    const lostDisk = first === 'disk' && !this.#isDetached && !this.#isSuspended
    if (lostDisk) {
      log.error({ vm: this.name }, 'the process that serves the disk of a VM ended; the VM is ended')
      this.kill()
    }
    const exit = await ended
    // Whoever let go of it is told nothing more.
    if (this.#isDetached) return new Promise<never>(() => undefined)
    this.keys.close()
    await this.#saving
    await console.close()
    const lastLines = [...console.lastLines, ...(await readLastLog(folder.vmmLog))]
    await endRun(this.parts, { isSuspended: this.#isSuspended })
    const why = lostDisk ? ['the process that served its disk ended'] : []
    const state = this.#isSuspended ? { isSuspended: true as const } : {}
    return { ...exit, lastLines: [...lastLines, ...why], ...state }
  }
}
