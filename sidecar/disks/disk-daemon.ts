/** One qemu-storage-daemon that serves a VM's disk: it outlives us, and is asked over QMP. */

import { constants } from 'node:fs'
import { chown, mkdir, open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { SidecarError } from '../errors.ts'
import { launch } from '../launch.ts'
import { isAlive, type ProcessIdentity, signalProcess, waitForEnd } from '../process-identity.ts'
import { connectQmp, type Qmp } from '../qmp/qmp-client.ts'
import {
  CONTROL_FOLDER,
  DISK_SOCKET,
  EXPORT_FOLDER,
  fileNodeOf,
  type Graph,
  headNode,
  type LayerNode,
  LIMIT,
  nodeOf,
  QMP_SOCKET,
  TEMPLATE,
  TOP,
  toArguments,
  toFrozen,
} from './daemon-graph.ts'
import { DAEMON } from './daemon-record.ts'
import type { Owner } from './layer-files.ts'

const QUIT_TIMEOUT_MS = 10_000
const CONNECT_TIMEOUT_MS = 10_000
const POLL_MS = 10
const SHOWN_CHARACTERS = 500

export interface DaemonPlace {
  readonly purpose: 'serve' | 'shorten'
  /** Its sockets lie there. */
  readonly folder: string
  readonly owner?: Owner
}

export interface DaemonStart extends DaemonPlace {
  readonly token: string
  readonly graph: Graph
  readonly groups: readonly string[]
  readonly poolFolder: string
  /** Where it can put no link in its place. */
  readonly logFile: string
  /** Told as soon as there is a process. */
  readonly onIdentity: (identity: ProcessIdentity) => Promise<void>
  /** For its first answer; default 10,000. */
  readonly timeoutMs?: number
}

/** `lost`: nobody knows, for the connection has ended. */
export type JobOutcome = 'done' | 'failed' | 'cancelled' | 'lost'

/** BlockDeviceInfo of QEMU's QMP reference manual. */
interface NodeInfo {
  readonly 'node-name': string
  readonly image?: { readonly 'virtual-size'?: number }
}

/** Settles when the disk can be connected to. @throws SidecarError disk_failed; then no process is left */
export async function startDaemon(start: DaemonStart): Promise<DiskDaemon> {
  const { folder, graph, purpose, token, owner, logFile } = start
  for (const name of [EXPORT_FOLDER, CONTROL_FOLDER]) await makeFolder(join(folder, name), owner)
  const identity = await launch({
    command: DAEMON,
    args: toArguments(graph, purpose, token),
    logFile,
    folder,
    groups: start.groups,
    ...(owner && { jail: toJail(start, owner) }),
  })
  await start.onIdentity(identity)
  const daemon = new DiskDaemon(start, identity)
  try {
    await daemon.connect(start.timeoutMs)
    return daemon
  } catch (cause) {
    await daemon.kill()
    const detail = (await readFile(logFile, 'utf8').catch(() => '')).trim().slice(-SHOWN_CHARACTERS)
    throw new SidecarError('disk_failed', { cause, context: { log: detail } })
  }
}

/** An empty one that the process may write. */
async function makeFolder(path: string, owner: Owner | undefined): Promise<void> {
  await rm(path, { recursive: true, force: true })
  await mkdir(path, { mode: 0o700 })
  if (owner) await chown(path, owner.uid, owner.gid)
}

function toJail({ folder, poolFolder, graph }: DaemonStart, owner: Owner) {
  return { ...owner, readable: [graph.templateFile], writable: [folder, poolFolder], devices: [] }
}

export class DiskDaemon {
  readonly purpose: DaemonPlace['purpose']
  readonly owner: Owner | undefined
  readonly folder: string
  readonly #identity: ProcessIdentity
  #connection: Promise<Qmp> | undefined
  #isDetached = false

  constructor({ purpose, folder, owner }: DaemonPlace, identity: ProcessIdentity) {
    this.purpose = purpose
    this.folder = folder
    this.owner = owner
    this.#identity = identity
  }

  get socket(): string {
    return join(this.folder, DISK_SOCKET)
  }

  get isAlive(): boolean {
    return isAlive(this.#identity)
  }

  /** @throws SidecarError qmp_failed when the process ends or does not answer */
  async connect(timeoutMs = CONNECT_TIMEOUT_MS): Promise<Qmp> {
    if (this.#isDetached)
      throw new SidecarError('disk_failed', { context: { reason: 'it was left to itself' } })
    this.#connection ??= this.#dial(timeoutMs)
    return this.#connection
  }

  /** Settles when the process has ended, unless it was detached. */
  async watch(): Promise<void> {
    while (this.isAlive && !this.#isDetached) {
      const connection = await this.connect().catch(() => undefined)
      await (connection?.closed ?? sleep(POLL_MS))
    }
    if (this.#isDetached) await Promise.withResolvers<void>().promise
  }

  detach(): void {
    this.#isDetached = true
    this.#connection?.then(
      (qmp) => qmp.close(),
      () => undefined,
    )
  }

  /** Puts `next` over the head: all writes from this moment on go there. */
  async putHead({ layers, isDirect }: Graph, next: LayerNode): Promise<void> {
    const node = nodeOf(layers.at(-1)?.layer ?? '')
    const qmp = await this.connect()
    await qmp.execute('blockdev-add', headNode(next, null, isDirect))
    await qmp.execute('blockdev-snapshot', { node, overlay: nodeOf(next.layer) })
  }

  /**
   * Lets the last layer of the graph, over which a new head was put, be read only; again does no harm. Without this each
   * change of the graph opens its file for writing once more, which a process in a jail may not once it is frozen.
   */
  async freezeHead({ layers, isDirect }: Graph): Promise<void> {
    const [head, lower] = layers.toReversed()
    if (!head) return
    const qmp = await this.connect()
    const below = lower ? nodeOf(lower.layer) : TEMPLATE
    await qmp.execute('blockdev-reopen', { options: toFrozen(head, below, isDirect) })
  }

  /** Takes the nodes of layers, oldest first, away as far as nothing stands on them; true when something does. */
  async isInUse(...layers: readonly string[]): Promise<boolean> {
    const qmp = await this.connect()
    const names = layers.map(nodeOf)
    for (const name of names.toReversed()) {
      await qmp.execute('blockdev-del', { 'node-name': name }).catch(() => undefined)
    }
    // Once: with 64 layers it takes 0.3 s.
    return (await this.#listNodes()).some((node) => names.includes(node['node-name']))
  }

  /** Larger only; once more is harmless. */
  async resize(sizeBytes: number): Promise<void> {
    const qmp = await this.connect()
    const top = (await this.#listNodes()).find((node) => node['node-name'] === TOP)
    if (Number(top?.image?.['virtual-size']) >= sizeBytes) return
    await qmp.execute('block_resize', { 'node-name': TOP, size: sizeBytes })
  }

  async limitWrites(bytesPerSecond: number | undefined): Promise<void> {
    const qmp = await this.connect()
    const value = { 'bps-write': bytesPerSecond === undefined ? 0 : Math.max(1, Math.round(bytesPerSecond)) }
    await qmp.execute('qom-set', { path: `/objects/${LIMIT}`, property: 'limits', value })
  }

  /**
   * Copies what lies between `base` and `head` into the head, in the background; what is answered settles when that is
   * over. A job that stays until it is dismissed is no choice: QSD 7.2 segfaults when its nodes are listed then. Nor is a
   * disk that is served: in 7.2 a writer hung, or the process died, in 5 of 12 runs of 20 cuts while a job was under way.
   */
  async stream(
    layers: { readonly base: string; readonly head: string },
    speed: number,
  ): Promise<{ readonly outcome: Promise<JobOutcome> }> {
    const qmp = await this.connect()
    const over = Promise.withResolvers<JobOutcome>()
    const stops = [
      qmp.onEvent('BLOCK_JOB_COMPLETED', ({ error }) =>
        over.resolve(error === undefined ? 'done' : 'failed'),
      ),
      qmp.onEvent('BLOCK_JOB_CANCELLED', () => over.resolve('cancelled')),
    ]
    void qmp.closed.then(() => over.resolve('lost'))
    const outcome = over.promise.finally(() => {
      for (const stop of stops) stop()
    })
    const nodes = { device: nodeOf(layers.head), 'base-node': nodeOf(layers.base) }
    await qmp.execute('block-stream', { 'job-id': 'shorten', ...nodes, speed })
    return { outcome }
  }

  /** Writes out all that a head of which nobody reads or writes has in memory. @throws SidecarError qmp_failed when it cannot */
  async writeOut(layers: { readonly base: string; readonly head: string }): Promise<void> {
    const qmp = await this.connect()
    const node = headNode({ layer: layers.head, file: '' }, nodeOf(layers.base), false)
    const options = { ...node, 'read-only': true, file: fileNodeOf(layers.head) }
    // Of all commands that flush, this one tells whether it could.
    await qmp.execute('blockdev-reopen', { options: [options] })
  }

  /** Writes everything out and ends it; true when it ended by itself. */
  async quit(): Promise<boolean> {
    const asked = this.connect().then((qmp) => qmp.execute('quit', {}, { timeoutMs: QUIT_TIMEOUT_MS }))
    await asked.catch(() => undefined)
    if (await this.endsWithin(QUIT_TIMEOUT_MS)) return true
    await this.kill()
    return false
  }

  async endsWithin(timeoutMs: number): Promise<boolean> {
    const limit = AbortSignal.timeout(timeoutMs)
    while (this.isAlive && !limit.aborted) await sleep(POLL_MS)
    return !this.isAlive
  }

  async kill(): Promise<void> {
    signalProcess(this.#identity, 'SIGKILL')
    await waitForEnd(this.#identity, POLL_MS)
    this.#connection?.then(
      (qmp) => qmp.close(),
      () => undefined,
    )
  }

  async #listNodes(): Promise<readonly NodeInfo[]> {
    const qmp = await this.connect()
    const nodes = await qmp.execute('query-named-block-nodes', { flat: true })
    return Array.isArray(nodes) ? nodes : []
  }

  async #dial(timeoutMs: number): Promise<Qmp> {
    const ended = new AbortController()
    const timer = setInterval(() => this.isAlive || ended.abort(new Error('the process has ended')), POLL_MS)
    try {
      const qmp = await connectQmp(join(this.folder, QMP_SOCKET), {
        signal: ended.signal,
        timeoutMs,
        uid: this.owner?.uid,
      })
      void qmp.closed.then(() => {
        this.#connection = undefined
      })
      return qmp
    } catch (error) {
      this.#connection = undefined
      throw error
    } finally {
      clearInterval(timer)
    }
  }
}

/** Whether files in the folder can be read and written past the host's cache; tmpfs, for one, cannot. */
export async function canBypassCache(folder: string): Promise<boolean> {
  const { O_RDWR, O_CREAT, O_DIRECT } = constants
  const path = join(folder, 'direct-io-probe')
  try {
    await (await open(path, O_RDWR | O_CREAT | O_DIRECT, 0o600)).close()
    return true
  } catch {
    return false
  } finally {
    await rm(path, { force: true })
  }
}
