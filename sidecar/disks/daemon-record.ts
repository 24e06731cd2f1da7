/** What tells a later process of ours which process serves a VM's disk: `disk-process.json` in the VM's folder. */

import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { replaceFile } from '../../lib/whole-file.ts'
import { BOOT_ID } from '../hypervisor/run-record.ts'
import { findProcess, isAlive, type ProcessIdentity } from '../process-identity.ts'
import type { Owner } from './layer-files.ts'

export const DAEMON = 'qemu-storage-daemon'

const START_TIMEOUT_MS = 5_000
const POLL_MS = 10

export interface DaemonRecord {
  /** Stands in its arguments. */
  readonly token: string
  /** `shorten`: no VM can be connected to it. */
  readonly purpose: 'serve' | 'shorten'
  /** Its sockets lie there. */
  readonly folder: string
  readonly bootId: string
  readonly owner?: Owner
  /** Undefined while it is being started. */
  readonly identity?: ProcessIdentity
}

export interface FoundDaemon {
  readonly record: DaemonRecord
  readonly identity: ProcessIdentity
}

/** The file lies beside the run folder, which is emptied while a disk may be served. */
export class DaemonRecords {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  async write(key: string, record: Omit<DaemonRecord, 'bootId'>): Promise<void> {
    await replaceFile(this.#pathOf(key), JSON.stringify({ ...record, bootId: BOOT_ID }))
  }

  /** The process, if it runs. */
  async find(key: string): Promise<FoundDaemon | undefined> {
    const record = await this.#read(key)
    if (record?.bootId !== BOOT_ID) return undefined
    const identity = record.identity ?? (await findByToken(record.token))
    return identity && isAlive(identity) ? { record, identity } : undefined
  }

  /** True when the last process was not seen to end as it should. */
  async isLeft(key: string): Promise<boolean> {
    return (await this.#read(key)) !== undefined
  }

  async delete(key: string): Promise<void> {
    await rm(this.#pathOf(key), { force: true })
  }

  /** What a power cut has left half written tells of a process that the power cut has ended. */
  async #read(key: string): Promise<DaemonRecord | undefined> {
    const text = await readFile(this.#pathOf(key), 'utf8').catch(() => undefined)
    if (text === undefined) return undefined
    try {
      const record: DaemonRecord = JSON.parse(text)
      return record
    } catch {
      return { token: '', purpose: 'serve', folder: '', bootId: '' }
    }
  }

  #pathOf(key: string): string {
    return join(this.#folder, key, 'disk-process.json')
  }
}

/** Of a process whose starter was killed before it could write down the id. It may still be what becomes the daemon. */
async function findByToken(token: string): Promise<ProcessIdentity | undefined> {
  const limit = AbortSignal.timeout(START_TIMEOUT_MS)
  while (!limit.aborted) {
    const programs = await listPrograms(token)
    const daemon = programs.find(({ program }) => program.endsWith(DAEMON))
    if (daemon) return findProcess(daemon.pid)
    if (programs.length === 0) return undefined
    await sleep(POLL_MS)
  }
  return undefined
}

/** Those with the token in their arguments. */
async function listPrograms(token: string): Promise<{ readonly pid: number; readonly program: string }[]> {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const found = await Promise.all(
    names.map(async (name) => {
      const line = await readFile(`/proc/${name}/cmdline`, 'latin1').catch(() => '')
      const [program = ''] = line.split('\0')
      return line.includes(token) ? [{ pid: Number(name), program }] : []
    }),
  )
  return found.flat()
}
