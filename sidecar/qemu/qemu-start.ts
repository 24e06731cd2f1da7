/** Starts a VM under QEMU, from its kernel or from the memory with which it fell asleep. */

import { randomUUID } from 'node:crypto'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { SidecarError } from '../errors.ts'
import { Agent } from '../hypervisor/agent.ts'
import { ConsoleLog } from '../hypervisor/console-log.ts'
import { digestOfKeys } from '../hypervisor/guest-keys.ts'
import { checkMemory, dropMemory, type MemoryState, openMemory } from '../hypervisor/memory-file.ts'
import { formatRefresh } from '../hypervisor/refresh.ts'
import { BOOT_ID, type RunRecord, writeRunRecord } from '../hypervisor/run-record.ts'
import { makeFolders } from '../hypervisor/vm-folder.ts'
import { type Jail, OUR_NETWORK } from '../jail.ts'
import { type LaunchedProcess, launch } from '../launch.ts'
import type { GuestLink } from '../network/guest-network.ts'
import { signalProcess } from '../process-identity.ts'
import { describeExit } from '../vmm.ts'
import { endLeftovers } from './leftovers.ts'
import { waitForMemory } from './migration.ts'
import { type QemuMachine, toArguments } from './qemu-arguments.ts'
import { dialChannels } from './qemu-channels.ts'
import { diskRunOf, type QemuDeps, type VmSite } from './qemu-parts.ts'
import { QEMU } from './qemu-program.ts'
import { QemuVm, shareOf } from './qemu-vm.ts'
import { readLastLog } from './run-end.ts'

/** How a run begins. */
export interface Beginning {
  /** Known once the guest's place in the network is. */
  readonly toMachine: (link: GuestLink) => QemuMachine
  readonly defaultPort?: number
  readonly memory?: MemoryState<QemuMachine>
}

/** How long a port that the image names may come later than the first one. */
const NAMED_PORT_GRACE_MS = 10_000
/** A woken guest that takes longer to set its clock is let run on meanwhile. */
const REFRESH_WAIT_MS = 1_000
const REFRESH_TIMEOUT_MS = 3_000
const REFRESH_TRIES = 5
const POLL_MS = 5

/** Leaves nothing running when it rejects. `signal` has the time limit in it. @throws SidecarError, or what `signal` says */
export async function startQemu(
  deps: QemuDeps,
  {
    site,
    beginning,
    signal,
  }: { readonly site: VmSite; readonly beginning: Beginning; readonly signal: AbortSignal },
): Promise<QemuVm> {
  await endLeftovers(deps, site)
  // Takes as long as what it goes beside: the memory of a guest is read twice, once by QEMU.
  const { memory } = beginning
  const checked = memory ? checkMemory(site.folder.suspended, memory) : Promise.resolve()
  checked.catch(() => undefined)
  await using undo = new AsyncDisposableStack()
  const failure = { name: site.spec.name, signal }
  const vm = await assemble(deps, { site, beginning, signal, undo }).catch((error: unknown) => {
    throw toStartError(error, { ...failure, lastLines: [] })
  })
  undo.move()
  // From here on the VM itself clears up when QEMU ends.
  try {
    await (memory ? wake(vm, { memory, checked }) : boot(vm, { beginning, signal }))
    return vm
  } catch (error) {
    vm.kill()
    const exit = await vm.exited
    throw toStartError(error, { ...failure, lastLines: exit.lastLines })
  }
}

interface Assembly {
  readonly site: VmSite
  readonly beginning: Beginning
  readonly signal: AbortSignal
  readonly undo: AsyncDisposableStack
}

/** Everything around the guest; the guest stands still. */
async function assemble(deps: QemuDeps, { site, beginning, signal, undo }: Assembly): Promise<QemuVm> {
  const { spec, folder, sockets, place, uid } = site
  await makeFolders(folder, sockets, uid)
  signal.throwIfAborted()
  const attached = deps.network.attach(place, sockets.net)
  undo.defer(() => (beginning.memory ? undefined : deps.network.detach(spec)))
  const identified = deps.identify(spec)
  const [link, { hostKey }] = await Promise.all([attached, identified])
  const machine = beginning.toMachine(link)
  const group = await deps.groups.openVm(spec.pool, spec, shareOf(spec, machine))
  undo.defer(() => group.remove())
  const disk = await deps.disks.open(spec, diskRunOf(site, group))
  undo.defer(() => disk.close())
  // One that boots fetches them; one that wakes has those of before.
  const keys = beginning.memory?.keys ?? digestOfKeys(spec.authorizedKeys)
  const draft = { ...draftRecord(site, machine), ports: [], keys, ...portOf(beginning) }
  await writeRunRecord(folder.runFile, draft)
  signal.throwIfAborted()
  await using input = beginning.memory && (await openMemory(folder.suspended))
  const vmm = await launch({
    command: QEMU,
    args: toArguments(machine, { sockets, link, disk: disk.socket }, beginning.memory ? 'wake' : 'boot'),
    logFile: folder.vmmLog,
    groups: group.vmm,
    folder: sockets.io,
    jail: toJail(site, { link, machine, disk: disk.socket }),
    ...(input && { input: input.fd }),
  })
  undo.defer(async () => {
    signalProcess(vmm, 'SIGKILL')
    await vmm.exited
  })
  const { pid, startTicks } = vmm
  const record = { ...draft, vmm: { pid, startTicks } }
  const [channels] = await Promise.all([
    openChannels(site, vmm, signal),
    writeRunRecord(folder.runFile, record),
  ])
  const { disks, network, identify, log } = deps
  return new QemuVm({
    ...{ spec, record, folder, sockets, place, link, group, disk, disks, network, identify, log },
    ...channels,
    identity: record.vmm,
    ended: vmm.exited,
    ...(uid !== undefined && { uid }),
    ...(hostKey !== undefined && { hostKey }),
  })
}

function portOf({ defaultPort }: { readonly defaultPort?: number }) {
  return defaultPort === undefined ? {} : { defaultPort }
}

function draftRecord({ spec }: VmSite, machine: QemuMachine): Omit<RunRecord<QemuMachine>, 'ports' | 'keys'> {
  const { name, createdAt, pool } = spec
  return {
    vm: { name, createdAt },
    pool,
    bootId: BOOT_ID,
    run: randomUUID(),
    startedAt: Date.now(),
    machine,
  }
}

interface JailParts {
  readonly link: GuestLink
  readonly machine: QemuMachine
  readonly disk: string
}

/** Without root the user is ours, and the jail only as good as the machine allows. */
function toJail({ sockets, uid }: VmSite, { link, machine, disk }: JailParts): Jail {
  const own = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  const { kernelFile, initramfsFile, toolsFile, accel } = machine
  return {
    ...(uid === undefined ? own : { uid, gid: uid }),
    netns: link.kind === 'tap' ? link.netns : OUR_NETWORK,
    // The folder is ours and the socket in it is not: a link in its place would be mounted.
    readable: [kernelFile, initramfsFile, toolsFile, dirname(disk), sockets.net],
    writable: [sockets.io],
    devices: [...(accel === 'kvm' ? ['/dev/kvm'] : []), ...(link.kind === 'tap' ? ['/dev/net/tun'] : [])],
  }
}

/** QMP, agent and console, as soon as QEMU listens. @throws Error when it ends before */
async function openChannels({ folder, sockets, uid }: VmSite, vmm: LaunchedProcess, signal: AbortSignal) {
  const giveUp = new AbortController()
  const channels = dialChannels(sockets.io, { signal: AbortSignal.any([signal, giveUp.signal]), uid })
  const ended = vmm.exited.then(async (exit) => {
    const said = await readLastLog(folder.vmmLog)
    const detail = [`QEMU ended with ${describeExit(exit)} before it ran`, ...said].join('\n  ')
    throw new SidecarError('vm_start_failed', { detail })
  })
  // It ends at some time, and then this is over.
  ended.catch(() => giveUp.abort())
  const { qmp, agentSocket, consoleSocket } = await Promise.race([channels, ended])
  const console = new ConsoleLog(folder.consoleLog)
  console.follow(consoleSocket)
  return { qmp, agent: new Agent(agentSocket), console }
}

async function boot(
  vm: QemuVm,
  { beginning, signal }: { readonly beginning: Beginning; readonly signal: AbortSignal },
): Promise<void> {
  const { qmp, agent } = vm.parts
  await qmp.execute('cont')
  const isOver = { value: false }
  void vm.exited.then(() => {
    isOver.value = true
  })
  let firstPortAt: number | undefined
  const isReady = () => {
    if (!agent.saidHello || !agent.ports) return false
    if (beginning.defaultPort === undefined || agent.ports.includes(beginning.defaultPort)) return true
    if (agent.ports.length > 0) firstPortAt ??= performance.now()
    return firstPortAt !== undefined && performance.now() - firstPortAt > NAMED_PORT_GRACE_MS
  }
  while (!isReady()) {
    signal.throwIfAborted()
    if (isOver.value) throw new Error('the guest ended before it answered')
    await sleep(POLL_MS)
  }
  // Kernels lose seconds while they boot under emulation.
  void setClock(vm)
  await vm.setPorts(agent.ports ?? [])
}

/** The memory is gone before the guest moves: from then on its disk is ahead of it. */
async function wake(
  vm: QemuVm,
  { memory, checked }: { readonly memory: MemoryState<QemuMachine>; readonly checked: Promise<void> },
): Promise<void> {
  const { qmp, agent, folder } = vm.parts
  await Promise.all([waitForMemory(qmp), checked])
  await Promise.all([vm.setPorts(memory.ports), dropMemory(folder.suspended)])
  await qmp.execute('cont')
  const refreshed = setClock(vm).then(() => agent.greet())
  // The agent does one thing after the other.
  const keysGiven = vm.keys.want(vm.parts.spec.authorizedKeys)
  await Promise.all([Promise.race([refreshed, sleep(REFRESH_WAIT_MS)]), keysGiven])
}

/** And its random numbers. Each try has the time of its own moment. Never rejects. */
async function setClock({ name, parts: { agent, log } }: QemuVm): Promise<void> {
  for (let tries = 1; tries <= REFRESH_TRIES; tries += 1) {
    try {
      return await agent.request('refresh', formatRefresh(), REFRESH_TIMEOUT_MS)
    } catch (error) {
      if (agent.isClosed) return
      if (tries === REFRESH_TRIES) log.warn({ vm: name, err: error }, 'a guest did not set its clock')
    }
  }
}

interface Failure {
  readonly name: string
  readonly signal: AbortSignal
  readonly lastLines: readonly string[]
}

function toStartError(cause: unknown, { name, signal, lastLines }: Failure): Error {
  const isLate = signal.aborted && signal.reason instanceof Error && signal.reason.name === 'TimeoutError'
  // Whatever gave up first when the time was over.
  if (cause instanceof SidecarError && !isLate) return cause
  const what = isLate ? 'did not answer in time' : `could not be started: ${String(cause)}`
  const detail = [`VM ${name} ${what}`, ...lastLines].join('\n  ')
  const code = isLate ? 'vm_start_timeout' : 'vm_start_failed'
  return new SidecarError(code, { cause, detail, context: { vm: name } })
}
