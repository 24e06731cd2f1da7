/** The files of layers: qcow2 images below `disks/<pool>/`, one per layer. */

import { constants } from 'node:fs'
import { chmod, chown, lstat, mkdir, open, readdir, rm } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { syncFolder } from '../../lib/private-file.ts'
import { runCommand } from '../run-command.ts'
import { checkHeader } from './layer-header.ts'

export interface Owner {
  readonly uid: number
  readonly gid: number
}

export interface NewLayer {
  readonly sizeBytes: number
  /** What it stands on. */
  readonly below: { readonly layer: string } | { readonly template: string }
}

/**
 * A cluster of 128 KiB has 32 parts of 4 KiB that are allocated each for itself. Measured over a template, against
 * whole clusters of 64 KiB: the first write of 4 KiB to a cluster takes 0.13 ms instead of 0.19, and room for 4 KiB.
 */
const FORMAT_OPTIONS = 'extended_l2=on,cluster_size=128k'
const BYTES_PER_BLOCK = 512
const FROZEN_MODE = 0o444
const HEAD_MODE = 0o600
/** A VM's processes open layers by name and must not list those of others. */
const POOL_FOLDER_MODE = 0o711
const SUFFIX = '.qcow2'
/** The fields `l1_size` and `l1_table_offset` of a qcow2 header (QEMU, docs/interop/qcow2.txt). */
const L1_HEADER_OFFSET = 36
const L1_HEADER_BYTES = 12
const L1_ENTRY_BYTES = 8
/** Each entry stands for a GiB. */
const MAX_L1_BYTES = 1_048_576

export class LayerFiles {
  readonly #folder: string

  /** `folder` is the data folder. */
  constructor(folder: string) {
    this.#folder = folder
  }

  poolFolder(pool: string): string {
    return join(this.#folder, 'disks', pool)
  }

  pathOf(pool: string, layer: string): string {
    return join(this.poolFolder(pool), `${layer}${SUFFIX}`)
  }

  /** What a manifest says of a template's file, so that the data folder may be moved. */
  toStored(file: string): string {
    const inside = relative(this.#folder, file)
    return inside.startsWith('..') ? file : inside
  }

  fromStored(file: string): string {
    return resolve(this.#folder, file)
  }

  /** An empty layer, on disk when this resolves. What its header says of the one below is for people and their tools. */
  async create(pool: string, layer: string, { sizeBytes, below }: NewLayer): Promise<void> {
    const path = this.pathOf(pool, layer)
    await mkdir(this.poolFolder(pool), { recursive: true, mode: POOL_FOLDER_MODE })
    const backing =
      'layer' in below
        ? ['-b', `${below.layer}${SUFFIX}`, '-F', 'qcow2']
        : ['-b', this.fromStored(below.template), '-F', 'raw']
    const kind = ['create', '-q', '-f', 'qcow2', '-o', FORMAT_OPTIONS, '-u']
    await runCommand('qemu-img', [...kind, ...backing, path, String(sizeBytes)])
    await chmod(path, HEAD_MODE)
    await syncFile(path)
    await syncFolder(this.poolFolder(pool))
  }

  /** Nobody writes to it again. */
  async freeze(pool: string, layer: string): Promise<void> {
    const path = this.pathOf(pool, layer)
    const { mode, uid } = await lstat(path)
    const self = process.getuid?.()
    if (self === 0 && uid !== 0) await chown(path, 0, 0)
    if ((mode & 0o777) !== FROZEN_MODE) await chmod(path, FROZEN_MODE)
  }

  /** On disk, also after a power cut, once whoever wrote it has written it out. */
  async sync(pool: string, layer: string): Promise<void> {
    await syncFile(this.pathOf(pool, layer))
  }

  /**
   * Whether it shows only what lies below it: nobody ever wrote to it. Also of one that is served, for QEMU writes the
   * first entry of this table before the first write to the layer completes.
   */
  async isEmpty(pool: string, layer: string): Promise<boolean> {
    await using file = await open(this.pathOf(pool, layer), constants.O_RDONLY | constants.O_NOFOLLOW)
    const header = Buffer.alloc(L1_HEADER_BYTES)
    await file.read(header, 0, header.length, L1_HEADER_OFFSET)
    const bytes = header.readUInt32BE(0) * L1_ENTRY_BYTES
    // Whoever serves it may write anything to it.
    if (bytes > MAX_L1_BYTES) return false
    const table = Buffer.alloc(bytes)
    const { bytesRead } = await file.read(table, 0, bytes, Number(header.readBigUInt64BE(4)))
    return bytesRead === bytes && table.every((byte) => byte === 0)
  }

  /** Makes it a head that `owner` writes, or we when there is none. */
  async claim(pool: string, layer: string, owner: Owner | undefined): Promise<void> {
    const path = this.pathOf(pool, layer)
    if (process.getuid?.() === 0) await chown(path, owner?.uid ?? 0, owner?.gid ?? 0)
    await chmod(path, HEAD_MODE)
  }

  /** Makes a head larger that nobody serves. */
  async growHead(pool: string, layer: string, sizeBytes: number): Promise<void> {
    if ((await readVirtualSize(this.pathOf(pool, layer))) >= sizeBytes) return
    await checkHeader(this.pathOf(pool, layer))
    await runCommand('qemu-img', ['resize', '-q', this.#alone(pool, layer), String(sizeBytes)])
  }

  /** Gives back what a process that was killed had set aside in a head and not used yet. */
  async repairLeaks(pool: string, layer: string): Promise<void> {
    await checkHeader(this.pathOf(pool, layer))
    await runCommand('qemu-img', ['check', '-q', '-r', 'leaks', this.#alone(pool, layer)])
  }

  /** Bytes of the blocks that they take; one that is gone counts nothing. */
  async measure(pool: string, layers: Iterable<string>): Promise<number> {
    const sizes = await Promise.all(Array.from(layers, (layer) => this.#measureOne(pool, layer)))
    return sizes.reduce((sum, bytes) => sum + bytes, 0)
  }

  async list(pool: string): Promise<readonly string[]> {
    const names = await readdir(this.poolFolder(pool)).catch(() => [])
    return names.filter((name) => name.endsWith(SUFFIX)).map((name) => name.slice(0, -SUFFIX.length))
  }

  listPools(): Promise<readonly string[]> {
    return readdir(join(this.#folder, 'disks'))
  }

  async delete(pool: string, layer: string): Promise<void> {
    await rm(this.pathOf(pool, layer), { force: true })
  }

  /** As qemu-img names it when nothing that its header says is to be opened. */
  #alone(pool: string, layer: string): string {
    const file = { driver: 'file', filename: this.pathOf(pool, layer) }
    return `json:${JSON.stringify({ driver: 'qcow2', backing: null, file })}`
  }

  async #measureOne(pool: string, layer: string): Promise<number> {
    try {
      return (await lstat(this.pathOf(pool, layer))).blocks * BYTES_PER_BLOCK
    } catch {
      return 0
    }
  }
}

/** The field `size` of a qcow2 header (QEMU, docs/interop/qcow2.txt). */
async function readVirtualSize(path: string): Promise<number> {
  await using file = await open(path)
  const { buffer } = await file.read(Buffer.alloc(8), 0, 8, 24)
  return Number(buffer.readBigUInt64BE())
}

async function syncFile(path: string): Promise<void> {
  await using file = await open(path, 'r+')
  await file.sync()
}
