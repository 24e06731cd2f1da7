/** The driver that runs VMs as microvms under QEMU. */

import { access, readdir, rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { Template } from '../guests/template.ts'
import { dropMemory, findMemory, type MemoryState } from '../hypervisor/memory-file.ts'
import { findRunRecord } from '../hypervisor/run-record.ts'
import { folderOf } from '../hypervisor/vm-folder.ts'
import { findJailKind } from '../jail.ts'
import { keyOfVm, type VmId } from '../vm-id.ts'
import type { RunningVm, Vmm, VmSpec } from '../vmm.ts'
import { type Balloon, createBalloon } from './balloon.ts'
import { endLeftovers } from './leftovers.ts'
import { adoptQemu } from './qemu-adopt.ts'
import { formatCommandLine, type QemuMachine } from './qemu-arguments.ts'
import { type QemuDeps, type QemuSettings, siteOf, type VmSite } from './qemu-parts.ts'
import { findQemu, type QemuProgram } from './qemu-program.ts'
import { type Beginning, startQemu } from './qemu-start.ts'
import type { QemuVm } from './qemu-vm.ts'

const MIB = 1_048_576
const GIB = 1_024 * MIB
const DEFAULTS = {
  accel: 'auto',
  startTimeoutMs: 60_000,
  memoryBytes: 512 * MIB,
  diskBytes: 20 * GIB,
} as const
const MAX_CPUS = 8
const RESIZE_GRACE_MS = 5_000

export interface QemuVmm extends Vmm {
  readonly balloon: Balloon
}

/** Calls about one VM come one after the other: whoever keeps it sees to that. */
export function createQemuVmm(deps: QemuDeps, settings: QemuSettings): QemuVmm {
  return new QemuDriver(deps, { ...DEFAULTS, ...settings })
}

class QemuDriver implements QemuVmm {
  readonly kind = 'qemu'
  readonly balloon: Balloon
  readonly #deps: QemuDeps
  readonly #settings: Required<QemuSettings>
  readonly #living = new Map<string, QemuVm>()
  #program: Promise<QemuProgram> | undefined

  constructor(deps: QemuDeps, settings: Required<QemuSettings>) {
    this.#deps = deps
    this.#settings = settings
    this.balloon = createBalloon((vm) => this.#living.get(keyOfVm(vm)))
  }

  listImages(): Promise<readonly string[]> {
    return this.#deps.templates.list()
  }

  async start(spec: VmSpec, signal?: AbortSignal): Promise<RunningVm> {
    const limits = [AbortSignal.timeout(this.#settings.startTimeoutMs), ...(signal ? [signal] : [])]
    const limit = AbortSignal.any(limits)
    const site = await siteOf(this.#deps, this.#settings.folder, spec)
    const woken = await this.#wake(site, limit)
    return this.#keep(woken ?? (await this.#boot(site, limit)))
  }

  /** Undefined when it does not sleep, or cannot go on; its memory is gone then. */
  async #wake(site: VmSite, signal: AbortSignal): Promise<QemuVm | undefined> {
    const { suspended } = site.folder
    const memory = await findMemory<QemuMachine>(suspended)
    if (!memory) return undefined
    const { machine, defaultPort } = memory
    try {
      await this.#checkMachine(memory)
      const port = defaultPort === undefined ? {} : { defaultPort }
      const beginning: Beginning = { toMachine: () => machine, memory, ...port }
      return await startQemu(this.#deps, { site, beginning, signal })
    } catch (error) {
      // One that was told to stop before it went on sleeps on.
      if (signal.aborted) throw error
      this.#deps.log.warn({ vm: site.spec.name, err: error }, 'a VM cannot go on where it slept; it boots')
      await dropMemory(suspended)
      return undefined
    }
  }

  /** @throws Error when memory of that machine cannot go on here */
  async #checkMachine({ machine }: MemoryState<QemuMachine>): Promise<void> {
    const { version, accel } = await this.#findProgram(machine.kernelFile)
    if (version !== machine.version) throw new Error(`it fell asleep under ${machine.version}`)
    if (accel !== machine.accel) throw new Error(`it fell asleep under ${machine.accel}`)
    await Promise.all(
      [machine.kernelFile, machine.initramfsFile, machine.toolsFile].map((file) => access(file)),
    )
  }

  async #boot(site: VmSite, signal: AbortSignal): Promise<QemuVm> {
    const { spec } = site
    const template = await this.#deps.templates.get(spec.image)
    const program = await this.#findProgram(template.kernelFile)
    // Whatever could not be read of it: no memory may outlive the start of the disk that it belongs to.
    await dropMemory(site.folder.suspended)
    await this.#deps.disks.create(spec, {
      pool: spec.pool,
      from: spec.source ? { kind: 'vm', ...spec.source } : { kind: 'template', file: template.rootFile },
      sizeBytes: spec.diskBytes ?? this.#settings.diskBytes,
    })
    if (spec.diskBytes !== undefined) await this.#deps.disks.grow(spec, spec.diskBytes)
    const { port } = template.config
    const beginning: Beginning = {
      toMachine: (link) => {
        const { version, accel, ...rate } = program
        const clock = { epochSeconds: Math.floor(Date.now() / 1_000), ...rate }
        const commandLine = formatCommandLine(link, clock)
        return { version, accel, ...this.#sizeOf(spec, program), ...filesOf(template), commandLine }
      },
      ...(port !== undefined && { defaultPort: port }),
    }
    const vm = await startQemu(this.#deps, { site, beginning, signal })
    // The file system follows its disk while the guest runs; one that is as large already does nothing.
    if (spec.diskBytes !== undefined) this.#growInside(vm)
    return vm
  }

  #growInside(vm: QemuVm): void {
    vm.parts.agent.request('grow', undefined, this.#settings.startTimeoutMs).catch((error: unknown) => {
      this.#deps.log.warn({ vm: vm.name, err: error }, 'the file system of a guest did not grow')
    })
  }

  #sizeOf(spec: VmSpec, { accel }: QemuProgram) {
    const cpus = accel === 'tcg' ? 1 : Math.min(MAX_CPUS, availableParallelism())
    return {
      cpus: spec.cpus ?? cpus,
      memoryBytes: spec.memoryBytes ?? this.#settings.memoryBytes,
    }
  }

  #findProgram(kernelFile: string): Promise<QemuProgram> {
    const { folder, accel } = this.#settings
    this.#program ??= this.#lookAround({ folder, accel, kernelFile })
    this.#program.catch(() => {
      this.#program = undefined
    })
    return this.#program
  }

  async #lookAround(probe: Parameters<typeof findQemu>[0]): Promise<QemuProgram> {
    const [program, jail] = await Promise.all([findQemu(probe), findJailKind()])
    this.#deps.log.info({ ...program, jail }, 'QEMU is ready')
    if (jail === 'none' || jail === 'uid') {
      this.#deps.log.warn({ jail }, 'bubblewrap does not work here: VMMs see the files of this machine')
    }
    return program
  }

  #keep(vm: QemuVm): QemuVm {
    const key = keyOfVm(vm.parts.spec)
    this.#living.set(key, vm)
    void vm.exited.then(() => {
      if (this.#living.get(key) === vm) this.#living.delete(key)
    })
    return vm
  }

  async adopt(spec: VmSpec): Promise<RunningVm | undefined> {
    const site = await siteOf(this.#deps, this.#settings.folder, spec)
    const vm = await adoptQemu(this.#deps, site)
    if (!vm) return undefined
    if (!isSized(vm.parts.record.machine, spec)) {
      this.#deps.log.info(
        { vm: spec.name },
        'a VM that runs was wanted in another size meanwhile; it is stopped',
      )
      await vm.stop(RESIZE_GRACE_MS)
      return undefined
    }
    this.#catchUp(vm, spec)
    return this.#keep(vm)
  }

  /** Its disk may have been wanted larger while nobody was there to make it so; one that is as large stays as it is. */
  #catchUp(vm: QemuVm, spec: VmSpec): void {
    if (spec.diskBytes === undefined) return
    this.#deps.disks.grow(spec, spec.diskBytes).then(
      () => this.#growInside(vm),
      (error: unknown) => this.#deps.log.warn({ vm: spec.name, err: error }, 'the disk of a VM did not grow'),
    )
  }

  async isSuspended(vm: VmId): Promise<boolean> {
    return (await findMemory(folderOf(this.#settings.folder, vm).suspended)) !== undefined
  }

  async forget(vm: VmId): Promise<void> {
    await dropMemory(folderOf(this.#settings.folder, vm).suspended)
    await this.#deps.network.detach(vm)
  }

  sampleUsage() {
    return Promise.all([...this.#living.values()].map((vm) => vm.sampleUsage()))
  }

  async remove(vm: VmId): Promise<void> {
    const site = await siteOf(this.#deps, this.#settings.folder, { ...vm, pool: '', image: '' })
    await endLeftovers(this.#deps, site)
    await this.#deps.network.detach(vm)
    await this.#deps.disks.remove(vm)
    for (const path of [site.folder.path, site.sockets.path]) {
      await rm(path, { recursive: true, force: true, maxRetries: 3 })
    }
    await this.#deps.slots.give(vm)
  }

  async sweep(known: readonly VmId[]): Promise<void> {
    const keys = new Set(known.map(keyOfVm))
    const folder = join(this.#settings.folder, 'vms')
    const names = await readdir(folder).catch(() => [])
    for (const name of names.filter((key) => !keys.has(key) && !this.#living.has(key))) {
      const record = await findRunRecord<QemuMachine>(join(folder, name, 'run', 'run.json'))
      if (!record) continue
      const spec = { ...record.vm, pool: record.pool, image: '' }
      await endLeftovers(this.#deps, await siteOf(this.#deps, this.#settings.folder, spec))
    }
    await this.#sweepGroups(keys)
    await this.#deps.network.sweep(known)
  }

  /** Groups whose VM has left no other trace; whatever still runs in them ends. */
  async #sweepGroups(known: ReadonlySet<string>): Promise<void> {
    for (const [pool, keys] of await this.#deps.groups.listVms()) {
      for (const key of keys.filter((each) => !known.has(each) && !this.#living.has(each))) {
        const group = await this.#deps.groups.openVm(pool, vmOfKey(key), { weight: 1, memoryLowBytes: 0 })
        await group.remove()
      }
    }
  }
}

/** What is not said in words may be what an earlier release took it to be. */
function isSized({ cpus, memoryBytes }: QemuMachine, spec: VmSpec): boolean {
  return (spec.cpus ?? cpus) === cpus && (spec.memoryBytes ?? memoryBytes) === memoryBytes
}

/** Not when it was made, but the key of what it answers is the same. */
function vmOfKey(key: string): VmId {
  const at = key.lastIndexOf('-')
  return { name: key.slice(0, at), createdAt: key.slice(at + 1) }
}

function filesOf({ kernelFile, initramfsFile, toolsFile }: Template) {
  return { kernelFile, initramfsFile, toolsFile }
}
