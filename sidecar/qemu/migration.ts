/** A guest's memory out of QEMU, over a unix socket of ours, for its sandbox lets it start no program; and into it, from a file. */

import { once } from 'node:events'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { receiveMemory } from '../hypervisor/memory-file.ts'
import { listenOn } from '../hypervisor/unix-socket.ts'
import type { Qmp } from '../qmp/qmp-client.ts'
import type { QemuMachine } from './qemu-arguments.ts'

const SOCKET = 'memory'
export const TIME_LIMIT_MS = 60_000
const POLL_MS = 2
/** QEMU spares the network by itself, with 128 MiB/s. */
const UNLIMITED = 2 ** 40
/** Beside each page stands where it belongs; devices have less than this to say. */
const DEVICE_BYTES = 67_108_864
const maxBytesOf = (memoryBytes: number) => DEVICE_BYTES + Math.ceil(memoryBytes * 1.125)

export interface MigrationPlace {
  readonly qmp: Qmp
  /** Where QEMU runs. */
  readonly io: string
  /** The VM's, for its memory. */
  readonly suspended: string
  /** Who the VMM runs as, when not as we do. */
  readonly uid?: number | undefined
}

/** Of a guest that stands still. @throws Error, or SidecarError qmp_failed */
export async function saveMemory(
  { qmp, io, suspended, uid }: MigrationPlace,
  { memoryBytes }: Pick<QemuMachine, 'memoryBytes'>,
) {
  const path = join(io, SOCKET)
  await using server = await listenOn(path, uid)
  const connected = once(server, 'connection', { signal: AbortSignal.timeout(TIME_LIMIT_MS) })
  connected.catch(() => undefined)
  await qmp.execute('migrate-set-parameters', { 'max-bandwidth': UNLIMITED })
  await qmp.execute('migrate', { uri: `unix:${SOCKET}` })
  const [socket] = (await connected) as [Socket]
  // Else the server would wait for its end.
  using _socket = { [Symbol.dispose]: () => void socket.destroy() }
  socket.on('error', () => undefined)
  socket.setTimeout(TIME_LIMIT_MS, () => socket.destroy(new Error('QEMU sends no more of the memory')))
  const saved = await receiveMemory(suspended, socket, maxBytesOf(memoryBytes))
  const status = await waitForMigration(qmp)
  if (status !== 'completed') throw new Error(`the migration ${status}`)
  return saved
}

/** Settles when the guest stands still with all its memory. @throws Error, or SidecarError qmp_failed, when it cannot go on */
export async function waitForMemory(qmp: Qmp): Promise<void> {
  const deadline = performance.now() + TIME_LIMIT_MS
  while ((await findStatus(qmp, 'query-status')) === 'inmigrate') {
    if (performance.now() > deadline) throw new Error('the memory was not loaded in time')
    await sleep(POLL_MS)
  }
}

async function waitForMigration(qmp: Qmp): Promise<unknown> {
  const deadline = performance.now() + TIME_LIMIT_MS
  for (;;) {
    const status = await findStatus(qmp, 'query-migrate')
    if (status === 'completed' || status === 'failed' || status === 'cancelled') return status
    if (performance.now() > deadline) return 'took too long'
    await sleep(POLL_MS)
  }
}

export async function findStatus(qmp: Qmp, command: 'query-status' | 'query-migrate'): Promise<unknown> {
  const answer = await qmp.execute(command)
  return typeof answer === 'object' && answer !== null && 'status' in answer ? answer.status : undefined
}
