/** Copies and snapshots of a disk of 20 GiB, hundreds of megabytes of it written, while its VM runs and goes on writing. */

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BenchContext } from '../frame/benchmark.ts'
import { BenchError } from '../frame/benchmark.ts'
import { SHELL_IMAGE } from './images.ts'
import { askPage, findVmFolder, SETTLE_MS } from './lives.ts'
import type { Platform } from './platform.ts'

const COPIES = 3
const SNAPSHOTS = 6
export const DATA_MIB = 300
const POLL_MS = 1
const LIMIT_MS = 30_000

/** 1 MiB ten times a second, synced; all of its outputs are closed, or the web server would wait for its end. */
const WRITER = `(while :; do dd if=/dev/zero of=/var/lib/writer bs=64k count=16 conv=fsync; sleep 0.1; done) </dev/null >/dev/null 2>&1 &`
const FILL = `dd if=/dev/urandom of=/var/lib/data bs=1M count=${DATA_MIB} conv=fsync 2>/dev/null`
/** Of every thirtieth: under emulation the sum of all would take 10 s. */
const DIGEST = `i=0; while [ $i -lt ${DATA_MIB} ]; do dd if=/var/lib/data bs=1M skip=$i count=1 2>/dev/null; i=$((i + 30)); done | md5sum`

export interface CopyTimes {
  /** From the call to the copy's disk on the host. */
  readonly copied: number[]
  /** From the call to the copy's first answer. */
  readonly reachable: number[]
  /** From the call to its answer that the snapshot is ready. */
  readonly snapshots: number[]
}

/** @throws BenchError when a copy does not hold what was written */
export async function measureCopies(platform: Platform, { settings, say }: BenchContext): Promise<CopyTimes> {
  const name = 'original'
  await platform.makeVm(name, { image: SHELL_IMAGE })
  await platform.run(name, FILL)
  const digest = await platform.run(name, DIGEST)
  if (!/^[0-9a-f]{32} /.test(digest)) throw new BenchError(`the guest's md5sum said ${digest}`)
  await platform.run(name, WRITER)
  const times: CopyTimes = { copied: [], reachable: [], snapshots: [] }
  for (let turn = 0; turn < COPIES * settings.rounds; turn += 1) {
    await sleep(SETTLE_MS)
    await copyOnce(platform, { name, copy: `copy-${turn}`, digest, times })
    say(`copy of a disk: ${times.copied.at(-1)?.toFixed(0)} ms`)
  }
  for (let turn = 0; turn < SNAPSHOTS * settings.rounds; turn += 1) {
    await sleep(SETTLE_MS)
    times.snapshots.push(await takeSnapshot(platform, name))
  }
  await platform.call('DELETE', `/v1/vms/${name}`)
  return times
}

interface Copying {
  readonly name: string
  readonly copy: string
  readonly digest: string
  readonly times: CopyTimes
}

async function copyOnce(platform: Platform, { name, copy, digest, times }: Copying): Promise<void> {
  const startedAt = performance.now()
  const made = platform.makeVm(copy, { source: { vm: name } })
  // Awaited below, whatever becomes of the disk.
  made.catch(() => undefined)
  times.copied.push((await waitForDisk(platform, copy)) - startedAt)
  await made
  await askPage(platform, copy)
  times.reachable.push(performance.now() - startedAt)
  const found = await platform.run(copy, DIGEST)
  if (found !== digest) throw new BenchError(`a copy holds other data: ${found} instead of ${digest}`)
  await platform.call('DELETE', `/v1/vms/${copy}`)
}

/** Until its list of layers is there, which is written last. */
async function waitForDisk(platform: Platform, name: string): Promise<number> {
  const deadline = performance.now() + LIMIT_MS
  while (performance.now() < deadline) {
    if (await hasDisk(platform, name)) return performance.now()
    await sleep(POLL_MS)
  }
  throw new BenchError(`"${join('vms', name)}" did not come to hold a disk`)
}

async function hasDisk(platform: Platform, name: string): Promise<boolean> {
  const folder = await findVmFolder(platform, name).catch(() => undefined)
  if (folder === undefined) return false
  const files = await readdir(folder)
  return files.includes('disk.json')
}

async function takeSnapshot(platform: Platform, name: string): Promise<number> {
  const startedAt = performance.now()
  const { id } = await platform.call('POST', `/v1/vms/${name}/snapshots?wait=60`, {})
  const tookMs = performance.now() - startedAt
  await platform.call('DELETE', `/v1/vms/${name}/snapshots/${id}`)
  return tookMs
}
