/** The three sockets of a running QEMU that a sidecar talks over. */

import type { Socket } from 'node:net'
import { join } from 'node:path'
import { type Dial, dialSocket } from '../hypervisor/unix-socket.ts'
import { connectQmp, type Qmp } from '../qmp/qmp-client.ts'
import { TIME_LIMIT_MS } from './migration.ts'
import { AGENT_SOCKET, CONSOLE_SOCKET, QMP_SOCKET } from './qemu-arguments.ts'

export interface QemuChannels {
  readonly qmp: Qmp
  readonly agentSocket: Socket
  readonly consoleSocket: Socket
}

/** All or none; waits until QEMU listens or the signal aborts. @throws Error, or SidecarError qmp_failed */
export async function dialChannels(io: string, dial: Dial): Promise<QemuChannels> {
  await using undo = new AsyncDisposableStack()
  const [qmp, agent, console] = await Promise.allSettled([
    connectQmp(join(io, QMP_SOCKET), { ...dial, timeoutMs: TIME_LIMIT_MS }),
    dialSocket(join(io, AGENT_SOCKET), dial),
    dialSocket(join(io, CONSOLE_SOCKET), dial),
  ])
  if (qmp.status === 'fulfilled') undo.defer(() => qmp.value.close())
  for (const { status, ...outcome } of [agent, console]) {
    if (status === 'fulfilled' && 'value' in outcome) undo.defer(() => void outcome.value.destroy())
  }
  if (qmp.status === 'rejected') throw qmp.reason
  if (agent.status === 'rejected') throw agent.reason
  if (console.status === 'rejected') throw console.reason
  undo.move()
  return { qmp: qmp.value, agentSocket: agent.value, consoleSocket: console.value }
}
