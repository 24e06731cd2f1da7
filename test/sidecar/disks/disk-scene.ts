/** A data folder with a template, and disks in it that a test can read and write over NBD. */

import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Disks, OpenDisk } from '../../../sidecar/disks/disks.ts'
import { type DiskSettings, startDisks } from '../../../sidecar/disks/local-disks.ts'
import { keyOfVm, type VmId } from '../../../sidecar/vm-id.ts'
import { folderFor } from '../../helpers/folder.ts'
import { QUIET_LOG } from '../../helpers/quiet-log.ts'
import { connectNbd, type NbdDisk } from './nbd-client.ts'

export const GIB = 1_073_741_824
export const MIB = 1_048_576
export const POOL = 'pool'
const SOCKET = 'nbd.sock'
/** Written all over the first MiB of the template. */
export const TEMPLATE_BYTE = 0x74

/** A second export of the disk, at a socket in the folder where its process runs. */
export function nbdAt(socket: string): readonly string[] {
  return [
    ...['--nbd-server', `addr.type=unix,addr.path=${socket}`],
    ...['--export', 'type=nbd,id=nbd,node-name=top,name=disk,writable=on'],
  ]
}

const needed = ['qemu-storage-daemon', 'qemu-img']
const missing = needed.filter((program) => spawnSync(program, ['--version']).status !== 0)
/** Why disks cannot be tested here, or false. */
export const cannotServe = missing.length > 0 && `${missing.join(', ')}: not installed`

export function vmOf(name: string): VmId {
  return { name, createdAt: '2026-01-01T00:00:00.000Z' }
}

export class DiskFolder {
  readonly path: string
  readonly template: string

  constructor(path: string) {
    this.path = path
    this.template = join(path, 'templates', 'root.img')
  }

  fill(): void {
    mkdirSync(join(this.path, 'templates'), { recursive: true })
    writeFileSync(this.template, Buffer.alloc(MIB, TEMPLATE_BYTE))
    truncateSync(this.template, 64 * MIB)
    chmodSync(this.template, 0o444)
  }

  start(settings: Partial<DiskSettings> = {}): Promise<Disks & AsyncDisposable> {
    return startDisks({ folder: this.path, log: QUIET_LOG, moreArguments: nbdAt(SOCKET), ...settings })
  }

  vmFolder(name: string): string {
    return join(this.path, 'vms', keyOfVm(vmOf(name)))
  }

  runOf(name: string) {
    const folder = join(this.vmFolder(name), 'run')
    mkdirSync(folder, { recursive: true })
    return { folder, groups: [] }
  }

  manifestOf(name: string): {
    layers: string[]
    snapshots: Record<string, { layers: string[] }>
    next?: object
  } {
    return JSON.parse(readFileSync(join(this.vmFolder(name), 'disk.json'), 'utf8'))
  }

  /** The process that serves the disk, also one that we do not know of. */
  pidOf(name: string): number | undefined {
    try {
      const record = JSON.parse(readFileSync(join(this.vmFolder(name), 'disk-process.json'), 'utf8'))
      return record.identity?.pid ?? findDaemon(record.token)
    } catch {
      return undefined
    }
  }

  layerFiles(): string[] {
    const folder = join(this.path, 'disks', POOL)
    return readdirSync(folder).map((name) => join(folder, name))
  }

  /** Complaints of qemu-img about layers; room that a killed process had set aside is none. */
  checkLayers(): string[] {
    return this.layerFiles().flatMap((file) => {
      const image = `json:${JSON.stringify({ driver: 'qcow2', backing: null, file: { driver: 'file', filename: file } })}`
      const { status, stdout, stderr } = spawnSync('qemu-img', ['check', image], { encoding: 'utf8' })
      return status === 0 || status === 3 ? [] : [`${file}: ${status} ${stdout} ${stderr}`]
    })
  }

  connect(name: string, socket = SOCKET): Promise<NbdDisk> {
    return connectNbd(join(this.vmFolder(name), 'run', socket), 'disk')
  }
}

export interface DiskScene {
  readonly folder: DiskFolder
  readonly disks: Disks & AsyncDisposable
  /** A new disk over the template. */
  make(name: string, sizeBytes?: number): Promise<void>
  /** Serves the disk until the test ends. */
  open(name: string): Promise<OpenDisk>
  copy(source: string, target: string, snapshot?: string): Promise<void>
  /** Writes one byte all over 64 KiB, durably. */
  write(name: string, offset: number, byte: number): Promise<void>
  /** The byte that is all over 64 KiB; -1 when they differ. */
  read(name: string, offset: number): Promise<number>
}

const SPAN = 65_536

export async function diskSceneFor(t: Test, settings: Partial<DiskSettings> = {}): Promise<DiskScene> {
  const folder = new DiskFolder(folderFor(t))
  folder.fill()
  const disks = await folder.start(settings)
  t.teardown(() => disks[Symbol.asyncDispose]())
  t.teardown(() => endDaemons(folder))
  const visit = async <T>(name: string, use: (disk: NbdDisk) => Promise<T>) => {
    const disk = await folder.connect(name)
    try {
      return await use(disk)
    } finally {
      disk.close()
    }
  }
  return {
    folder,
    disks,
    make: (name, sizeBytes = GIB) =>
      disks.create(vmOf(name), { pool: POOL, from: { kind: 'template', file: folder.template }, sizeBytes }),
    open: (name) => disks.open(vmOf(name), folder.runOf(name)),
    copy: (source, target, snapshot) =>
      disks.create(vmOf(target), {
        pool: POOL,
        from: { kind: 'vm', vm: vmOf(source), ...(snapshot !== undefined && { snapshot }) },
        sizeBytes: 0,
      }),
    write: (name, offset, byte) =>
      visit(name, async (disk) => {
        await disk.write(offset, Buffer.alloc(SPAN, byte))
        await disk.flush()
      }),
    read: (name, offset) => visit(name, async (disk) => uniform(await disk.read(offset, SPAN))),
  }
}

/** Of a process whose starter was killed before it could write down the id. */
function findDaemon(token: string): number | undefined {
  const { stdout } = spawnSync('pgrep', ['-f', `^qemu-storage-daemon .*${token}`], { encoding: 'utf8' })
  const [pid] = stdout.split('\n')
  return pid ? Number(pid) : undefined
}

export function uniform(data: Buffer): number {
  return data.every((byte) => byte === data[0]) ? (data[0] ?? -1) : -1
}

/** Also those that were left to themselves. */
export function endDaemons(folder: DiskFolder): void {
  for (const key of readdirSync(join(folder.path, 'vms'))) {
    const file = join(folder.path, 'vms', key, 'disk-process.json')
    try {
      const { token, identity } = JSON.parse(readFileSync(file, 'utf8'))
      if (identity && execFileSync('ps', ['-o', 'args=', '-p', String(identity.pid)]).includes(token))
        process.kill(identity.pid, 'SIGKILL')
    } catch {
      // It has ended already.
    }
  }
}
