/** Takes over a VM that an earlier sidecar left running; the guest notices nothing. */

import { Agent } from '../hypervisor/agent.ts'
import { ConsoleLog } from '../hypervisor/console-log.ts'
import { dropUnfinished, findMemory } from '../hypervisor/memory-file.ts'
import { findRunRecord, type RunRecord } from '../hypervisor/run-record.ts'
import type { ProcessExit } from '../launch.ts'
import { isAlive, type ProcessIdentity, signalProcess, waitForEnd } from '../process-identity.ts'
import type { Qmp } from '../qmp/qmp-client.ts'
import { endLeftovers } from './leftovers.ts'
import { findStatus } from './migration.ts'
import type { QemuMachine } from './qemu-arguments.ts'
import { dialChannels } from './qemu-channels.ts'
import { diskRunOf, type QemuDeps, type VmSite } from './qemu-parts.ts'
import { QemuVm, shareOf } from './qemu-vm.ts'

const CONNECT_TIMEOUT_MS = 5_000
/** QEMU closes its sockets a moment before it ends. */
const END_TIMEOUT_MS = 2_000

type LivingRecord = RunRecord<QemuMachine> & { readonly vmm: ProcessIdentity }

/** Undefined when it does not run; what was half there is gone then. */
export async function adoptQemu(deps: QemuDeps, site: VmSite): Promise<QemuVm | undefined> {
  const { spec, folder } = site
  const record = await findLiving(site)
  if (record) {
    try {
      return await takeOver(deps, site, record)
    } catch (error) {
      deps.log.warn({ vm: spec.name, err: error }, 'a VM that runs cannot be taken over; it is ended')
    }
  }
  await endLeftovers(deps, site)
  const isAsleep = (await findMemory(folder.suspended)) !== undefined
  if (record && !isAsleep) await deps.network.detach(spec)
  return undefined
}

/** A VM whose memory is on disk has not moved since then, or is not to: it sleeps, though its VMM may still be there. */
async function findLiving({ folder }: VmSite): Promise<LivingRecord | undefined> {
  const record = await findRunRecord<QemuMachine>(folder.runFile)
  if (!record?.vmm || !isAlive(record.vmm)) return undefined
  const isAsleep = (await findMemory(folder.suspended)) !== undefined
  return isAsleep ? undefined : { ...record, vmm: record.vmm }
}

async function takeOver(deps: QemuDeps, site: VmSite, record: LivingRecord): Promise<QemuVm> {
  const { spec, folder, sockets, place, uid } = site
  await using undo = new AsyncDisposableStack()
  const group = await deps.groups.openVm(spec.pool, spec, shareOf(spec, record.machine))
  const disk = await deps.disks.adopt(spec, diskRunOf(site, group))
  if (!disk) throw new Error('nothing serves its disk any more')
  undo.defer(() => disk.detach())
  const signal = AbortSignal.timeout(CONNECT_TIMEOUT_MS)
  const [link, { hostKey }] = await Promise.all([
    deps.network.attach(place, sockets.net),
    deps.identify(spec),
  ])
  const { qmp, agentSocket, consoleSocket } = await dialChannels(sockets.io, { signal, uid })
  undo.defer(() => qmp.close())
  undo.defer(() => void agentSocket.destroy())
  undo.defer(() => void consoleSocket.destroy())
  await goOn(qmp)
  await dropUnfinished(folder.suspended)
  const letGo = new AbortController()
  const console = new ConsoleLog(folder.consoleLog)
  await console.load()
  console.follow(consoleSocket)
  const { disks, network, identify, log } = deps
  const vm = new QemuVm({
    ...{ spec, record, folder, sockets, place, link, group, disk, disks, network, identify, log },
    ...{ qmp, agent: new Agent(agentSocket), console },
    identity: record.vmm,
    ended: watchEnd(record.vmm, qmp, letGo.signal),
    letGo,
    ...(uid !== undefined && { uid }),
    ...(hostKey !== undefined && { hostKey }),
  })
  undo.move()
  await Promise.all([vm.setPorts(record.ports), vm.keys.want(spec.authorizedKeys)])
  vm.parts.agent.greet()
  return vm
}

/** One that stands still was about to sleep, and has not been saved. @throws Error when it never ran */
async function goOn(qmp: Qmp): Promise<void> {
  const status = await findStatus(qmp, 'query-status')
  if (status === 'running') return
  if (status !== 'paused' && status !== 'postmigrate' && status !== 'finish-migrate') {
    throw new Error(`its state is ${String(status)}`)
  }
  await qmp.execute('migrate_cancel')
  await qmp.execute('cont')
}

/** How it ended is for its parent alone. Nothing is ended once `signal` has aborted. */
async function watchEnd(
  watched: ProcessIdentity,
  qmp: Qmp,
  signal: AbortSignal,
): Promise<Partial<ProcessExit>> {
  await qmp.closed
  if (signal.aborted) return {}
  const timer = setTimeout(() => signalProcess(watched, 'SIGKILL'), END_TIMEOUT_MS)
  await waitForEnd(watched)
  clearTimeout(timer)
  return {}
}
