/** What a user waits for: a new VM to answer, a VM that sleeps to answer, and a VM to fall asleep. */

import { watch } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BenchContext } from '../frame/benchmark.ts'
import { BenchError } from '../frame/benchmark.ts'
import { PAGE, PAGE_TEXT, SHELL_IMAGE } from './images.ts'
import type { Platform } from './platform.ts'

/** In each round, as below. */
const CREATIONS = 4
/** With five rounds, the p99 of wakes to a file is the second worst of a hundred. */
const WAKES = 25
/** However few the rounds. */
const MIN_WAKES = 40
/** The others ask for a file. */
const HELLO_EVERY = 5
/** In the guest's memory. */
const MARK = '/dev/shm/mark'
/** What is still being cleared away after one measurement is not counted in the next. */
export const SETTLE_MS = 300
const LIMIT_MS = 30_000

/** Milliseconds of each, from the call to the first answer 200 through the edge. */
export async function measureCreations(platform: Platform, { settings, say }: BenchContext) {
  const times: number[] = []
  for (let turn = 0; turn < CREATIONS * settings.rounds; turn += 1) {
    const name = `new-${turn}`
    const startedAt = performance.now()
    await platform.makeVm(name, {})
    await askHello(platform, name)
    times.push(performance.now() - startedAt)
    await platform.call('DELETE', `/v1/vms/${name}`)
    await sleep(SETTLE_MS)
    say(`create to reachable: ${times.at(-1)?.toFixed(0)} ms`)
  }
  return times
}

export interface SleepTimes {
  /** From the call to the memory on the disk, whole and under its name. */
  readonly saved: number[]
  /** From the call to its answer: QEMU has ended and the table knows. */
  readonly suspended: number[]
  /** From a request on a new connection to its whole answer, a file. */
  readonly woken: number[]
  /** The same, but the answer is the page of `hello`, for which the guest starts eight programs. */
  readonly wokenToHello: number[]
}

/** @throws BenchError when a VM that was woken has lost its memory */
export async function measureSleep(platform: Platform, { settings, say }: BenchContext): Promise<SleepTimes> {
  const name = 'sleeper'
  await platform.makeVm(name, { image: SHELL_IMAGE })
  await platform.run(name, `echo kept >${MARK}`)
  const folder = await findVmFolder(platform, name)
  const times: SleepTimes = { saved: [], suspended: [], woken: [], wokenToHello: [] }
  for (let turn = 0; turn < Math.max(MIN_WAKES, WAKES * settings.rounds); turn += 1) {
    await sleep(SETTLE_MS)
    await suspendOnce(platform, { name, folder, times })
    await sleep(SETTLE_MS)
    await wakeOnce(platform, { name, times, isToHello: turn % HELLO_EVERY === HELLO_EVERY - 1 })
    say(`suspend ${times.saved.at(-1)?.toFixed(0)} ms, wake ${times.woken.at(-1)?.toFixed(0)} ms`)
  }
  await platform.call('DELETE', `/v1/vms/${name}`)
  return times
}

interface Waking {
  readonly name: string
  readonly times: SleepTimes
  readonly isToHello: boolean
}

async function wakeOnce(platform: Platform, { name, times, isToHello }: Waking): Promise<void> {
  const startedAt = performance.now()
  await (isToHello ? askHello(platform, name) : askPage(platform, name))
  const list = isToHello ? times.wokenToHello : times.woken
  list.push(performance.now() - startedAt)
  const kept = await platform.run(name, `cat ${MARK}`)
  if (kept !== 'kept\n') throw new BenchError(`"${name}" was booted anew instead of woken`)
}

interface Sleeper {
  readonly name: string
  readonly folder: string
  readonly times: SleepTimes
}

async function suspendOnce(platform: Platform, { name, folder, times }: Sleeper): Promise<void> {
  const isSaved = Promise.withResolvers<number>()
  const watcher = watch(folder, (event, file) => {
    // The folder with the memory gets its name when all of it is on the disk.
    if (event === 'rename' && file === 'suspended') isSaved.resolve(performance.now())
  })
  try {
    const startedAt = performance.now()
    await platform.call('POST', `/v1/vms/${name}/suspend?wait=60`)
    times.suspended.push(performance.now() - startedAt)
    const late = sleep(LIMIT_MS, undefined, { ref: false }).then(() => Number.NaN)
    times.saved.push((await Promise.race([isSaved.promise, late])) - startedAt)
  } finally {
    watcher.close()
  }
}

/** @throws BenchError when another VM answers */
async function askHello(platform: Platform, name: string): Promise<void> {
  const page = await platform.get(name, '/')
  if (page.startsWith(`Hello from the VM ${name}.localhost, up for `)) return
  throw new BenchError(`"${name}" answered: ${page.slice(0, 200)}`)
}

/** Of the image `shell`. @throws BenchError */
export async function askPage(platform: Platform, name: string): Promise<void> {
  const page = await platform.get(name, `/${PAGE}`)
  if (page !== PAGE_TEXT) throw new BenchError(`"${name}" answered: ${page.slice(0, 200)}`)
}

/** On the host's disk; named after the VM and the moment when it was made. */
export async function findVmFolder({ dataFolder }: Platform, name: string): Promise<string> {
  const vms = join(dataFolder, 'vms')
  const found = (await readdir(vms)).find((key) => key.replace(/-[0-9TZ]+$/, '') === name)
  if (found === undefined) throw new BenchError(`"${name}" has no folder`)
  return join(vms, found)
}
