/** What VMs that are stopped cost: the memory of everything that the host runs, before they are made and after. */

import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BenchContext } from '../frame/benchmark.ts'
import { median } from '../frame/samples.ts'
import type { Platform } from './platform.ts'

export const STOPPED_VMS = 100
/** The others never ran. */
const RAN = 5
const SAMPLES = 20
const SAMPLE_MS = 200

export interface StoppedCost {
  /** Of all processes: Landfall itself, and what its VMs run on. */
  readonly residentKibPerVm: number
  /** Of all the pools' groups. */
  readonly groupKibPerVm: number
  /** Beside those before. */
  readonly moreProcesses: number
}

/** Made and deleted once before, since Landfall itself grows with its first hundred VMs of any kind. */
export async function measureStopped(platform: Platform, { say }: BenchContext): Promise<StoppedCost> {
  await makeStopped(platform, 0)
  await deleteAll(platform)
  const before = await sampleMemory(platform)
  await makeStopped(platform, RAN)
  const after = await sampleMemory(platform)
  await deleteAll(platform)
  const cost = {
    residentKibPerVm: (after.residentKib - before.residentKib) / STOPPED_VMS,
    groupKibPerVm: (after.groupKib - before.groupKib) / STOPPED_VMS,
    moreProcesses: after.processes - before.processes,
  }
  say(`${STOPPED_VMS} stopped VMs: ${cost.residentKibPerVm.toFixed(1)} KiB each`)
  return cost
}

function namesOf(): string[] {
  return Array.from({ length: STOPPED_VMS }, (_, index) => `stopped-${index}`)
}

/** So many of them run before. */
async function makeStopped(platform: Platform, ran: number): Promise<void> {
  for (const [index, name] of namesOf().entries()) {
    if (index < ran) await platform.makeVm(name, {})
    await platform.makeVm(name, { state: 'stopped' })
  }
}

async function deleteAll(platform: Platform): Promise<void> {
  for (const name of namesOf()) await platform.call('DELETE', `/v1/vms/${name}`)
}

async function sampleMemory(platform: Platform) {
  const samples: { residentKib: number; groupKib: number; processes: number }[] = []
  for (let sample = 0; sample < SAMPLES; sample += 1) {
    await sleep(SAMPLE_MS)
    const processes = await platform.findProcesses()
    const residentKib = processes.map(readResidentKib).reduce((sum, kib) => sum + kib, 0)
    samples.push({ residentKib, groupKib: readGroupKib(platform.cgroup), processes: processes.length })
  }
  return {
    residentKib: median(samples.map((sample) => sample.residentKib)),
    groupKib: median(samples.map((sample) => sample.groupKib)),
    processes: Math.min(...samples.map((sample) => sample.processes)),
  }
}

function readResidentKib(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readText(`/proc/${pid}/status`))?.[1] ?? 0)
}

/** Of the top group, which counts all below it; cgroup v1 and v2 name the file differently. */
function readGroupKib(cgroup: string): number {
  const files = globSync(
    [`memory/${cgroup}/memory.usage_in_bytes`, `${cgroup}/memory.current`].map((path) =>
      join('/sys/fs/cgroup', path),
    ),
  )
  return files.reduce((sum, file) => sum + Number(readText(file)) / 1_024, 0)
}

/** Empty when it is gone by now. */
function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
