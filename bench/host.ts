/** The host benchmark: real guests made, put to sleep, woken, copied and stopped, and what their disks take beside one that is far away. */

import { readFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { findQemu, type QemuProgram } from '../sidecar/qemu/qemu-program.ts'
import type { BenchContext, Benchmark, Report } from './frame/benchmark.ts'
import { takeAllCores } from './frame/cores.ts'
import { readMachine } from './frame/machine.ts'
import { measureCopies } from './host/copies.ts'
import { buildImages } from './host/images.ts'
import { measureLatencies } from './host/latency.ts'
import { measureCreations, measureSleep } from './host/lives.ts'
import { startPlatform } from './host/platform.ts'
import { type HostMeasured, toChart, toLines, toRows, toTable } from './host/report.ts'
import { measureStopped } from './host/stopped.ts'

export const hostBenchmark: Benchmark = {
  name: 'host',
  summary:
    'VMs: create, wake, suspend, copy, memory of stopped ones; local disk beside one that is 1 ms away',
  run,
}

async function run(context: BenchContext): Promise<Report> {
  await takeAllCores(context.programs.taskset)
  const loadBefore = loadavg()[0] ?? 0
  context.say(`load before: ${loadBefore.toFixed(2)}`)
  const dataFolder = join(context.folder, 'data')
  const images = await buildImages(dataFolder, context.say)
  const program = await findQemu({ folder: dataFolder, accel: 'auto', kernelFile: images.boot.kernelFile })
  context.say(`guests run under ${program.accel.toUpperCase()}`)
  const latencies = await measureLatencies({ image: images.shell, program }, context)
  const measured = { ...(await measureLives({ dataFolder, program }, context)), latencies }
  return toReport(measured, { program, loadBefore, context })
}

interface LivesPlace {
  readonly dataFolder: string
  readonly program: QemuProgram
}

async function measureLives(
  { dataFolder, program: { accel } }: LivesPlace,
  context: BenchContext,
): Promise<Omit<HostMeasured, 'latencies'>> {
  await using platform = await startPlatform({ dataFolder, accel }, context)
  try {
    const created = await measureCreations(platform, context)
    const asleep = await measureSleep(platform, context)
    const copies = await measureCopies(platform, context)
    const stopped = await measureStopped(platform, context)
    return { times: { created, ...asleep, ...copies }, stopped }
  } catch (error) {
    context.say(platform.readLog())
    throw error
  }
}

interface Circumstances {
  readonly program: QemuProgram
  readonly loadBefore: number
  readonly context: BenchContext
}

function toReport(measured: HostMeasured, { program, loadBefore, context }: Circumstances): Report {
  const lines = toLines(measured)
  const { cpu, cores } = readMachine()
  const { settings, programs } = context
  const accel = program.accel.toUpperCase()
  const subtitle = `guests of 1 CPU and 128 MiB under ${accel}, ${settings.rounds} rounds; ${cpu} (${cores} cores), load ${loadBefore.toFixed(1)} before`
  const packageJson = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  const facts = {
    measure: 'load of the machine before',
    of: 'one minute',
    value: loadBefore,
    unit: '',
    digits: 2,
  }
  const all = [...lines, facts]
  const versions = {
    landfall: packageJson.version,
    node: process.version,
    accelerator: accel,
    'qemu-system-x86_64': programs['qemu-system-x86_64'].version,
    'qemu-storage-daemon': programs['qemu-storage-daemon'].version,
  }
  return { rows: toRows(all), table: toTable(all), chart: toChart(lines, subtitle), versions }
}
