/** Measures how fast the processor's time stamp counter runs: an emulated guest sees that counter, and cannot measure it on a busy host. */

import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runCommand } from '../run-command.ts'
import { code, DATA_ADDRESS, int32, systemCall, toProgram } from './machine-code.ts'

const SYS_WRITE = 1
const SYS_NANOSLEEP = 35
const SYS_EXIT = 60
const SYS_CLOCK_GETTIME = 228
const CLOCK_MONOTONIC_RAW = 4

const PAUSE_NS = 50_000_000
/** Counter and time before the pause, then both after it: 8 and 16 bytes each. */
const READING_BYTES = 24
const PAUSE_ADDRESS = DATA_ADDRESS + 2 * READING_BYTES
const TRIES = 3

/** In kHz, as the kernel's `tsc_early_khz=` takes it; below `folder` it writes a program for a moment. @throws SidecarError command_failed */
export async function measureTscKhz(folder: string): Promise<number> {
  await mkdir(folder, { recursive: true })
  const work = await mkdtemp(join(folder, '.tsc-'))
  try {
    const program = join(work, 'tsc-rate')
    await writeFile(program, toTscProgram())
    await chmod(program, 0o755)
    const rates: number[] = []
    for (let run = 0; run < TRIES; run++) {
      await runCommand('/bin/sh', ['-c', '"$1" >"$2"', 'sh', program, join(work, 'readings')])
      rates.push(toKhz(await readFile(join(work, 'readings'))))
    }
    // One that was interrupted between counter and clock is too fast or too slow.
    return rates.toSorted((a, b) => a - b)[Math.floor(TRIES / 2)] ?? 0
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

function toKhz(readings: Buffer): number {
  const [before, after] = [0, READING_BYTES].map((at) => ({
    ticks: readings.readBigUInt64LE(at),
    ns: readings.readBigInt64LE(at + 8) * 1_000_000_000n + readings.readBigInt64LE(at + 16),
  }))
  if (!before || !after || after.ns <= before.ns) throw new RangeError('the clock stands still')
  return Math.round((Number(after.ticks - before.ticks) * 1_000_000) / Number(after.ns - before.ns))
}

/** Writes two readings, with a pause between them, to its standard output. */
function toTscProgram(): Buffer {
  return toProgram(
    Buffer.concat([
      code(0xc7, 0x04, 0x25, int32(PAUSE_ADDRESS + 8), int32(PAUSE_NS)), // mov dword [pause + 8], PAUSE_NS
      takeReading(DATA_ADDRESS),
      code(0xbf, int32(PAUSE_ADDRESS)), // mov edi, pause
      code(0x31, 0xf6), // xor esi, esi
      systemCall(SYS_NANOSLEEP),
      takeReading(DATA_ADDRESS + READING_BYTES),
      code(0xbf, int32(1)), // mov edi, 1: standard output
      code(0xbe, int32(DATA_ADDRESS)), // mov esi, both readings
      code(0xba, int32(2 * READING_BYTES)), // mov edx, their length
      systemCall(SYS_WRITE),
      code(0x31, 0xff), // xor edi, edi
      systemCall(SYS_EXIT),
    ]),
  )
}

function takeReading(address: number): Buffer {
  return Buffer.concat([
    code(0x0f, 0x31), // rdtsc: edx and eax
    code(0x48, 0xc1, 0xe2, 0x20), // shl rdx, 32
    code(0x48, 0x09, 0xd0), // or rax, rdx
    code(0x48, 0x89, 0x04, 0x25, int32(address)), // mov [address], rax
    code(0xbf, int32(CLOCK_MONOTONIC_RAW)), // mov edi, clock
    code(0xbe, int32(address + 8)), // mov esi, address + 8
    systemCall(SYS_CLOCK_GETTIME),
  ])
}
