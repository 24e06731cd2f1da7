/** One disk, two ways: as Landfall serves it to its guests, and over a network block device that is 1 ms away. */

import { mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { startDisks } from '../../sidecar/disks/local-disks.ts'
import type { BenchContext } from '../frame/benchmark.ts'
import { startChild } from '../frame/child.ts'
import { ALL_CORES } from '../frame/cores.ts'
import { findFreePorts } from '../frame/free-ports.ts'
import { STRICT_LOG } from '../table/task-side.ts'
import { type DelayProxy, startDelayProxy } from './delay-proxy.ts'
import { waitForFile } from './wait-for-file.ts'

/** Half of the round trip. */
export const ONE_WAY_MS = 0.5
export const EXPORT = 'disk'
const GIB = 1_073_741_824
const FAR_SOCKET = 'far.sock'
const POOL = 'bench'
/** Whose disks they are, if anybody's. */
const VM = { name: 'bench', createdAt: '2000-01-01T00:00:00.000Z' }

export interface TwoWays extends AsyncDisposable {
  /** The guest's own disk, with a root file system. */
  readonly rootSocket: string
  /** A vhost-user-blk socket of the disk's own process. */
  readonly nearSocket: string
  /** One of a process whose disk is the other one's, over the network. */
  readonly farSocket: string
  /** Of the NBD server in the disk's own process, on 127.0.0.1. */
  readonly nearPort: number
  /** What leads there, from afar. */
  readonly farProxy: DelayProxy
}

/** @throws BenchError, SidecarError */
export async function startTwoWays(rootFile: string, context: BenchContext): Promise<TwoWays> {
  await using started = new AsyncDisposableStack()
  const folder = join(context.folder, 'ways')
  await mkdir(folder, { recursive: true })
  const [nearPort = 0] = await findFreePorts(1)
  // Landfall's own driver, settings and all; the second export leads to the same node.
  const nbd = [
    ...['--nbd-server', `addr.type=inet,addr.host=127.0.0.1,addr.port=${nearPort}`],
    ...['--export', `nbd,id=nbd,node-name=top,name=${EXPORT},writable=on`],
  ]
  const emptyFile = join(folder, 'empty.img')
  await using empty = await open(emptyFile, 'w', 0o444)
  await empty.truncate(GIB)
  const rootDisk = await serve(started, { folder: join(folder, 'root'), file: rootFile, sizeBytes: 20 * GIB })
  const place = { folder: join(folder, 'data'), file: emptyFile, sizeBytes: GIB, moreArguments: nbd }
  const nearDisk = await serve(started, place)
  const farProxy = started.use(await startDelayProxy({ targetPort: nearPort, oneWayMs: ONE_WAY_MS }))
  const farSocket = await startFarEnd(started, { folder, farProxy, context })
  const owned = started.move()
  return {
    ...{ rootSocket: rootDisk, nearSocket: nearDisk, farSocket, nearPort, farProxy },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

interface Served {
  readonly folder: string
  readonly file: string
  readonly sizeBytes: number
  readonly moreArguments?: readonly string[]
}

async function serve(
  started: AsyncDisposableStack,
  { folder, file, sizeBytes, moreArguments = [] }: Served,
): Promise<string> {
  const run = join(folder, 'run')
  await mkdir(run, { recursive: true })
  const disks = started.use(await startDisks({ folder, log: STRICT_LOG, moreArguments }))
  await disks.create(VM, { pool: POOL, from: { kind: 'template', file }, sizeBytes })
  const disk = await disks.open(VM, { folder: run, groups: [] })
  started.defer(() => disk.close())
  return disk.socket
}

interface FarEnd {
  readonly folder: string
  readonly farProxy: DelayProxy
  readonly context: BenchContext
}

async function startFarEnd(
  started: AsyncDisposableStack,
  { folder, farProxy, context: { programs, signal } }: FarEnd,
): Promise<string> {
  const server = `server.type=inet,server.host=127.0.0.1,server.port=${farProxy.port}`
  started.use(
    await startChild({
      name: 'the far end of the disk',
      core: ALL_CORES,
      command: [
        programs['qemu-storage-daemon'].path,
        ...['--blockdev', `driver=nbd,node-name=far,export=${EXPORT},${server}`],
        ...[
          '--export',
          `vhost-user-blk,id=far,node-name=far,addr.type=unix,addr.path=${FAR_SOCKET},writable=on`,
        ],
      ],
      cwd: folder,
      outputFile: join(folder, 'far.log'),
      ports: [],
      signal,
    }),
  )
  const socket = join(folder, FAR_SOCKET)
  await waitForFile(socket, signal)
  return socket
}
