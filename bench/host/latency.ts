/** How long 4 KiB take, one at a time and at random: in a guest and on its host, on the disk beside it and on one 1 ms away. */

import type { Template } from '../../sidecar/guests/template.ts'
import type { QemuProgram } from '../../sidecar/qemu/qemu-program.ts'
import type { BenchContext } from '../frame/benchmark.ts'
import { BenchError } from '../frame/benchmark.ts'
import { median } from '../frame/samples.ts'
import { measureRoundTrips } from './delay-proxy.ts'
import { EXPORT, ONE_WAY_MS, startTwoWays, type TwoWays } from './far-disk.ts'
import { type Guest, startGuest } from './guest.ts'
import { IO_PROGRAM } from './images.ts'
import { type Job, type Operation, parseJobOutput, type Timed, toJobInput } from './io-program.ts'
import { connectNbd, type NbdClient } from './nbd-client.ts'

/** 128 MiB, written before: what is measured is never the first write of a block, which takes room first. */
const BLOCKS = 32_768
const BLOCKS_PER_SECOND = 100
const ROUND_TRIPS = 500
/** Loopback and the proxy's own turns come on top; more than so much, and it would be another network. */
const MAX_ROUND_TRIP_MS = 1.5
/** No write has it. */
const READ_TAG = 4_095
const NEAR = '/dev/vdc'
const FAR = '/dev/vdd'

export const OPERATIONS = ['read', 'write', 'durable write'] as const satisfies readonly Operation[]
export type Way = 'near' | 'far'
export type Place = 'guest' | 'host'

/** Milliseconds of each read or write. */
export interface Latency {
  readonly place: Place
  readonly way: Way
  readonly operation: Operation
  readonly times: number[]
}

export interface Latencies {
  readonly latencies: readonly Latency[]
  /** Milliseconds of the guest's measuring itself: what a read of /dev/zero takes it. */
  readonly nullMs: readonly number[]
  readonly roundTripMs: number
}

/** @throws BenchError when a block does not say what was written to it */
export async function measureLatencies(
  { image, program }: { readonly image: Template; readonly program: QemuProgram },
  context: BenchContext,
): Promise<Latencies> {
  const roundTripMs = median(await measureRoundTrips(ONE_WAY_MS, ROUND_TRIPS))
  context.say(`round trip through the delaying proxy: ${roundTripMs.toFixed(3)} ms`)
  if (roundTripMs < 2 * ONE_WAY_MS || roundTripMs > MAX_ROUND_TRIP_MS) {
    throw new BenchError(
      `the round trip is ${roundTripMs.toFixed(3)} ms instead of 1: the machine is too busy`,
    )
  }
  await using ways = await startTwoWays(image.rootFile, context)
  using near = await connectNbd(ways.nearPort, EXPORT)
  using far = await connectNbd(ways.farProxy.port, EXPORT)
  const written = new Written()
  await fill(near, written)
  await using guest = await startGuest({ image, program, ways }, context)
  await checkWays(guest, ways)
  const latencies = await measureRounds({ guest, near, far, written }, context)
  const nullMs = (await runInGuest(guest, '/dev/zero', { ...draft('read', context), isDirect: false })).map(
    toMs,
  )
  return { latencies, nullMs, roundTripMs }
}

/** Which tag each block has. */
class Written {
  readonly #tags = new Uint16Array(BLOCKS)
  #last = 0

  nextTag(): number {
    this.#last = (this.#last % (READ_TAG - 1)) + 1
    return this.#last
  }

  set(block: number, tag: number): void {
    this.#tags[block] = tag
  }

  /** @throws BenchError */
  check({ block, tag }: Timed, wanted: number): void {
    if (block === wanted && tag === this.#tags[wanted]) return
    throw new BenchError(`block ${wanted} holds ${block}/${tag} instead of ${wanted}/${this.#tags[wanted]}`)
  }
}

async function fill(near: NbdClient, written: Written): Promise<void> {
  const tag = written.nextTag()
  for (let block = 0; block < BLOCKS; block += 1) {
    await near.run('write', block, tag)
    written.set(block, tag)
  }
}

/** The guest's names of disks follow their order on the command line, which is checked. @throws BenchError */
async function checkWays(guest: Guest, { farProxy }: TwoWays): Promise<void> {
  for (const [disk, isFar] of [
    [NEAR, false],
    [FAR, true],
  ] as const) {
    const before = await farProxy.countBytes()
    await guest.run(`dd if=${disk} of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null`)
    const isSeen = (await farProxy.countBytes()) > before
    if (isSeen !== isFar) throw new BenchError(`${disk} is not the disk that it was taken for`)
    // Else the guest would ask for no flush, and a durable write would be none.
    const cache = await guest.run(`cat /sys/block/${disk.replace('/dev/', '')}/queue/write_cache`)
    if (cache.toString() !== 'write back\n') throw new BenchError(`${disk} says that it has no cache`)
  }
}

interface Parts {
  readonly guest: Guest
  readonly near: NbdClient
  readonly far: NbdClient
  readonly written: Written
}

/** From way to way in each round, so that whatever slows the machine down slows both. */
async function measureRounds(parts: Parts, context: BenchContext): Promise<readonly Latency[]> {
  const latencies: Latency[] = OPERATIONS.flatMap((operation) =>
    (['guest', 'host'] as const).flatMap((place) =>
      (['near', 'far'] as const).map((way) => ({ place, way, operation, times: [] })),
    ),
  )
  for (let round = 1; round <= context.settings.rounds; round += 1) {
    for (const latency of latencies) {
      const times = await measureOne(parts, latency, context)
      latency.times.push(...times)
      const { operation, place, way } = latency
      context.say(`${operation}, ${place}, ${way}, round ${round}: ${median(times).toFixed(3)} ms`)
    }
  }
  return latencies
}

async function measureOne(parts: Parts, { place, way, operation }: Latency, context: BenchContext) {
  const { guest, written } = parts
  const tag = operation === 'read' ? READ_TAG : written.nextTag()
  const job = { ...draft(operation, context), tag }
  const timed =
    place === 'guest'
      ? await runInGuest(guest, way === 'near' ? NEAR : FAR, job)
      : await runOnHost(parts[way], job)
  if (operation !== 'read') for (const block of job.blocks) written.set(block, tag)
  for (const [index, block] of job.blocks.entries()) {
    const found = timed[index]
    if (found) written.check(found, block)
  }
  // What was written one way is read the other way.
  const [block = 0] = job.blocks
  written.check(await parts[way === 'near' ? 'far' : 'near'].run('read', block, READ_TAG), block)
  return timed.map(toMs)
}

function draft(operation: Operation, { settings }: BenchContext): Job {
  const count = settings.roundSeconds * BLOCKS_PER_SECOND
  const blocks = Array.from({ length: count }, () => Math.floor(Math.random() * BLOCKS))
  return { operation, isDirect: true, blocks, tag: READ_TAG }
}

async function runInGuest(guest: Guest, path: string, job: Job): Promise<readonly Timed[]> {
  const input = toJobInput(job).toString('base64')
  const startedAt = performance.now()
  const output = await guest.run(
    `echo ${input} | base64 -d >/dev/shm/input && ${IO_PROGRAM} ${path} </dev/shm/input >/dev/shm/output && cat /dev/shm/output`,
  )
  const tookMs = performance.now() - startedAt
  const timed = parseJobOutput(output, job)
  const countedMs = timed.reduce((sum, { nanos }) => sum + nanos / 1_000_000, 0)
  if (countedMs > tookMs) {
    throw new BenchError(
      `the guest's clock is fast: it counted ${countedMs.toFixed(0)} of ${tookMs.toFixed(0)} ms`,
    )
  }
  return timed
}

async function runOnHost(client: NbdClient, { operation, blocks, tag }: Job): Promise<readonly Timed[]> {
  const timed: Timed[] = []
  for (const block of blocks) timed.push(await client.run(operation, block, tag))
  return timed
}

function toMs({ nanos }: Timed): number {
  return nanos / 1_000_000
}
