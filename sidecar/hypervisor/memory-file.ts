/** The memory of a VM that sleeps, on disk: whole or not there at all, and used at most once. */

import { type FileHandle, mkdir, open, readFile, rename, rm, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { crc32 } from 'node:zlib'
import { syncFolder } from '../../lib/private-file.ts'

const CHUNK_BYTES = 1_048_576

/** What there is to know of it before it is loaded. */
export interface MemoryState<Machine> {
  readonly bytes: number
  readonly crc: number
  /** Ports that listened, as the guest said last. */
  readonly ports: readonly number[]
  readonly defaultPort?: number
  /** A digest of the authorized keys that the guest has; empty when that is not certain. */
  readonly keys: string
  readonly machine: Machine
}

/** Of the disk, which the disks of running VMs need. */
const SPARE_SHARE = 0.05
/** Names of the folder's contents. */
const MEMORY = 'memory'
const STATE = 'state.json'

/**
 * An unfinished state; settles with it when all that comes from `stream` is on disk. A VMM that was broken into may send
 * without end. @throws Error when it is more than `maxBytes`, or when the disk has no room for so much
 */
export async function receiveMemory(
  folder: string,
  stream: Readable,
  maxBytes: number,
): Promise<{ readonly bytes: number; readonly crc: number }> {
  await rm(`${folder}.new`, { recursive: true, force: true })
  await mkdir(`${folder}.new`, { recursive: true, mode: 0o700 })
  await checkRoom(folder, maxBytes)
  await using file = await open(join(`${folder}.new`, MEMORY), 'wx', 0o600)
  const sum = await writeAll(file, stream, maxBytes)
  await file.sync()
  return sum
}

/** No pool pays for memory on disk, and a tenant may put one VM after the other to sleep. */
async function checkRoom(folder: string, maxBytes: number): Promise<void> {
  const { bavail, blocks, bsize } = await statfs(dirname(folder))
  const bytesLeft = (bavail - blocks * SPARE_SHARE) * bsize
  if (bytesLeft < maxBytes)
    throw new Error(`the disk of the host has no room for ${maxBytes} bytes of memory`)
}

async function writeAll(
  file: FileHandle,
  stream: Readable,
  maxBytes: number,
): Promise<{ bytes: number; crc: number }> {
  const sum = { bytes: 0, crc: 0 }
  let batch: Uint8Array[] = []
  let batchBytes = 0
  const flush = async () => {
    const chunks = batch
    batch = []
    batchBytes = 0
    if (chunks.length > 0) await file.writev(chunks)
  }
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    sum.bytes += chunk.length
    if (sum.bytes > maxBytes) throw new Error(`the memory takes more than ${maxBytes} bytes`)
    sum.crc = crc32(chunk, sum.crc)
    batch.push(chunk)
    batchBytes += chunk.length
    if (batchBytes >= CHUNK_BYTES) await flush()
  }
  await flush()
  return sum
}

/** From here on the VM sleeps, whatever happens. */
export async function completeMemory<M>(folder: string, state: MemoryState<M>): Promise<void> {
  await using file = await open(join(`${folder}.new`, STATE), 'wx', 0o600)
  await file.writeFile(JSON.stringify(state))
  await file.sync()
  await syncFolder(`${folder}.new`)
  await rename(`${folder}.new`, folder)
  await syncFolder(dirname(folder))
}

export async function dropUnfinished(folder: string): Promise<void> {
  await rm(`${folder}.new`, { recursive: true, force: true })
}

/** Undefined when there is none, or none that can be used. @throws Node's errors: then nobody knows, and nothing may run */
export async function findMemory<M>(folder: string): Promise<MemoryState<M> | undefined> {
  const text = await readFile(join(folder, STATE), 'utf8').catch(undefinedUnlessOther)
  try {
    const state: MemoryState<M> | undefined = text === undefined ? undefined : JSON.parse(text)
    return state
  } catch {
    return undefined
  }
}

function undefinedUnlessOther(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
  throw error
}

/** For a VMM to read from its beginning. */
export function openMemory(folder: string): Promise<FileHandle> {
  return open(join(folder, MEMORY), 'r')
}

/** @throws Error when it is not what was written */
export async function checkMemory<M>(folder: string, state: MemoryState<M>): Promise<void> {
  await using file = await openMemory(folder)
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
  const sum = { bytes: 0, crc: 0 }
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length)
    if (bytesRead === 0) break
    sum.bytes += bytesRead
    sum.crc = crc32(buffer.subarray(0, bytesRead), sum.crc)
  }
  if (sum.bytes !== state.bytes || sum.crc !== state.crc) throw new Error('the memory file is damaged')
}

/**
 * It is gone for good when this settles, a crash of the machine included: the guest's disk moves on, and memory of
 * before would destroy it. What takes long is done later. @throws Node's errors: then the guest must not move
 */
export async function dropMemory(folder: string): Promise<void> {
  const used = `${folder}.used`
  await rm(used, { recursive: true, force: true })
  const isThere = await rename(folder, used).then(() => true, undefinedUnlessOther)
  if (!isThere) return
  await syncFolder(dirname(folder))
  void rm(used, { recursive: true, force: true }).catch(() => undefined)
}
