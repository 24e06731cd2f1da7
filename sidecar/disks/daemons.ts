/** The processes that serve disks, by VM: those of this process and those that an earlier one has left. */

import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DaemonRecords } from './daemon-record.ts'
import { type DaemonStart, DiskDaemon, startDaemon } from './disk-daemon.ts'

/** What closes its sockets is gone soon after. */
const END_MS = 2_000
const FIRST_TRY_MS = 3_000

export type DaemonPlan = Omit<DaemonStart, 'token' | 'logFile' | 'onIdentity' | 'timeoutMs'>

export class Daemons {
  readonly #folder: string
  readonly #records: DaemonRecords
  readonly #known = new Map<string, DiskDaemon>()

  /** `folder` has a folder per VM. */
  constructor(folder: string) {
    this.#folder = folder
    this.#records = new DaemonRecords(folder)
  }

  /** The one that runs, if one does. */
  async find(key: string): Promise<DiskDaemon | undefined> {
    const known = this.#known.get(key)
    if (known?.isAlive) return known
    const found = await this.#records.find(key)
    if (!found) return undefined
    const daemon = new DiskDaemon(found.record, found.identity)
    // It may be starting still, and may fail to.
    const isReady = await daemon.connect().then(
      () => true,
      () => false,
    )
    if (!isReady && (await daemon.endsWithin(END_MS))) return undefined
    this.#known.set(key, daemon)
    return daemon
  }

  /** The one that a VM may be connected to; any other is ended. */
  async findServing(key: string): Promise<DiskDaemon | undefined> {
    const daemon = await this.find(key)
    if (daemon?.purpose !== 'shorten') return daemon
    await this.end(key)
    return undefined
  }

  async start(key: string, plan: DaemonPlan): Promise<DiskDaemon> {
    const token = randomBytes(8).toString('hex')
    const { purpose, folder, owner } = plan
    const record = { token, purpose, folder, ...(owner && { owner }) }
    await this.#records.write(key, record)
    const onIdentity = (identity: { pid: number; startTicks: number }) => {
      const { pid, startTicks } = identity
      return this.#records.write(key, { ...record, identity: { pid, startTicks } })
    }
    const logFile = join(this.#folder, key, 'disk.log')
    await rm(logFile, { force: true })
    const start = { ...plan, token, logFile, onIdentity }
    // On a busy machine QSD 7.2 greets and then never answers, once in some hundred starts.
    const daemon = await startDaemon({ ...start, timeoutMs: FIRST_TRY_MS }).catch(() => startDaemon(start))
    this.#known.set(key, daemon)
    return daemon
  }

  /** True when the last one did not end as it should: it may have left a mess. */
  isLeft(key: string): Promise<boolean> {
    return this.#records.isLeft(key)
  }

  /** Settles when none runs. */
  async end(key: string): Promise<void> {
    const daemon = await this.find(key)
    if (daemon && (await daemon.quit())) await this.#records.delete(key)
    this.#known.delete(key)
  }

  /** Forgets what was noted of one that is gone. */
  async forget(key: string): Promise<void> {
    await this.#records.delete(key)
    this.#known.delete(key)
  }

  get(key: string): DiskDaemon | undefined {
    return this.#known.get(key)
  }

  /** Leaves those that serve to themselves. */
  async detachAll(): Promise<void> {
    for (const [key, daemon] of this.#known) {
      if (daemon.purpose === 'shorten') await this.end(key)
      else daemon.detach()
    }
  }
}
