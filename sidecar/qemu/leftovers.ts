/** Ends what an earlier sidecar left of a run that cannot go on. */

import { access, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { dropUnfinished } from '../hypervisor/memory-file.ts'
import { findRunRecord } from '../hypervisor/run-record.ts'
import { signalProcess, waitForEnd } from '../process-identity.ts'
import { connectQmp } from '../qmp/qmp-client.ts'
import { type QemuMachine, QMP_SOCKET } from './qemu-arguments.ts'
import { diskRunOf, type QemuDeps, type VmSite } from './qemu-parts.ts'

const QUIT_TIMEOUT_MS = 500

/** Does nothing, and at little cost, when there is nothing. @throws Error when something cannot be ended */
export async function endLeftovers(deps: QemuDeps, site: VmSite): Promise<void> {
  const { spec, folder, sockets, uid } = site
  const isThere = await access(folder.runFile).then(
    () => true,
    () => false,
  )
  if (!isThere) return
  const record = await findRunRecord<QemuMachine>(folder.runFile)
  deps.log.info({ vm: spec.name }, 'ending what is left of a VM that ran')
  if (record?.vmm) {
    signalProcess(record.vmm, 'SIGKILL')
    await waitForEnd(record.vmm)
  } else await quit(join(sockets.io, QMP_SOCKET), uid)
  const disk = await deps.disks.adopt(spec, diskRunOf(site, { disk: [] }))
  await disk?.close()
  if (record) {
    const group = await deps.groups.openVm(record.pool, spec, { weight: 1, memoryLowBytes: 0 })
    await group.remove()
  }
  await dropUnfinished(folder.suspended)
  await rm(sockets.io, { recursive: true, force: true })
  await rm(folder.runFile, { force: true })
}

/** One whose process id was never written down. */
async function quit(socket: string, uid: number | undefined): Promise<void> {
  const qmp = await connectQmp(socket, { timeoutMs: QUIT_TIMEOUT_MS, uid }).catch(() => undefined)
  if (!qmp) return
  await qmp.execute('quit').catch(() => undefined)
  await qmp.closed
}
