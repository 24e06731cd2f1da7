/** What is left of a run when QEMU has ended, and how it is cleared away. */

import { open, rm } from 'node:fs/promises'
import type { Log } from '../../lib/log.ts'
import type { OpenDisk } from '../disks/disks.ts'
import type { Agent } from '../hypervisor/agent.ts'
import type { SocketFolder, VmFolder } from '../hypervisor/vm-folder.ts'
import type { GuestNetwork } from '../network/guest-network.ts'
import type { VmGroup } from '../pools/pool-groups.ts'
import type { Qmp } from '../qmp/qmp-client.ts'
import type { VmSpec } from '../vmm.ts'

const SHOWN_BYTES = 1_000

export interface RunRemains {
  readonly spec: VmSpec
  readonly folder: VmFolder
  readonly sockets: SocketFolder
  readonly disk: Pick<OpenDisk, 'close'>
  readonly network: Pick<GuestNetwork, 'detach'>
  readonly group: VmGroup
  readonly qmp: Qmp
  readonly agent: Agent
  readonly log: Log
}

/** Never rejects. A VM that sleeps keeps its network, so that it wakes sooner. */
export async function endRun(
  { spec, folder, sockets, disk, network, group, qmp, agent, log }: RunRemains,
  { isSuspended }: { readonly isSuspended: boolean },
): Promise<void> {
  agent.close()
  qmp.close()
  const attempt = (what: Promise<unknown>) =>
    what.catch((error: unknown) => log.warn({ vm: spec.name, err: error }, 'cleaning up after a VM'))
  await attempt(disk.close())
  await Promise.all([
    attempt(isSuspended ? Promise.resolve() : network.detach(spec)),
    attempt(group.remove()),
    attempt(rm(folder.runFile, { force: true })),
    attempt(rm(sockets.io, { recursive: true, force: true })),
  ])
}

/** The last lines that QEMU itself wrote. */
export async function readLastLog(file: string): Promise<readonly string[]> {
  try {
    await using log = await open(file, 'r')
    const { size } = await log.stat()
    const buffer = Buffer.alloc(Math.min(size, SHOWN_BYTES))
    await log.read(buffer, 0, buffer.length, size - buffer.length)
    return buffer.toString('utf8').split('\n').filter(Boolean)
  } catch {
    return []
  }
}
