/** One run of a VM as a child process: its output, its ports, its exit, what it uses. */

import type { ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import type { Log } from '../../lib/log.ts'
import { codeOf } from '../../lib/node-error.ts'
import type { Address } from '../../routing/records/records.ts'
import { SidecarError } from '../errors.ts'
import { measureFolder } from '../folder-size.ts'
import { readLines } from '../lines.ts'
import type { ProcessUsage } from '../process-usage.ts'
import type { RunningVm, VmExit, VmFacts, VmUsage } from '../vmm.ts'
import { MAX_REPORT_CHARACTERS, parsePortReport } from './port-report.ts'

const LAST_LINES = 20
/** How long the output of a process that has exited may still come in, held open by a child of its own. */
const OUTPUT_GRACE_MS = 500
const MEASURE_EVERY_MS = 60_000
const DETACH_GRACE_MS = 5_000

/** The place of the report channel among a child's descriptors. */
export const REPORT_FD = 3

export interface VmProcessParts {
  readonly name: string
  /** With pipes at 1, 2 and `REPORT_FD`, and a process group of its own. */
  readonly child: ChildProcess
  /** The VM's own, which is measured. */
  readonly folder: string
  readonly log: Log
}

export class VmProcess implements RunningVm {
  readonly name: string
  readonly run = randomUUID()
  /** Settles when the program has reported its ports. */
  readonly reported: Promise<'ports'>
  readonly exited: Promise<VmExit>
  #ports: Readonly<Record<string, Address>> = {}
  readonly #parts: VmProcessParts
  readonly #startedAt = performance.now()
  readonly #lastLines: string[] = []
  #ended = false
  #cpuSeconds = 0
  #disk = { bytes: 0, at: Number.NEGATIVE_INFINITY }

  constructor(parts: VmProcessParts) {
    const { name, child, log } = parts
    this.name = name
    this.#parts = parts
    this.#follow('stdout')
    this.#follow('stderr')
    this.exited = this.#watchExit()
    this.reported = this.#watchReports()
    // Without a listener a failed kill would be thrown; the exit says what matters.
    child.on('error', (error) => log.warn({ vm: name, err: error }, 'VM process error'))
  }

  /** Also the id of its process group. */
  get pid(): number {
    return this.#parts.child.pid ?? 0
  }

  get facts(): VmFacts {
    return { ports: this.#ports }
  }

  /** The ports that a program reports first are its ports. */
  onFacts(): void {}

  async suspend(): Promise<void> {
    throw new SidecarError('vm_suspend_failed', { detail: 'A VM that is a process cannot be suspended.' })
  }

  async detach(): Promise<void> {
    await this.stop(DETACH_GRACE_MS)
  }

  async update(): Promise<void> {}

  async sampleActivity(): Promise<undefined> {
    return undefined
  }

  async stop(graceMs: number): Promise<VmExit> {
    if (!this.#ended) this.#parts.child.kill('SIGTERM')
    const timer = setTimeout(() => this.#killGroup(), graceMs)
    try {
      return await this.exited
    } finally {
      clearTimeout(timer)
    }
  }

  /** Looks at the VM's folder again when the last look is a minute old. */
  async refreshDisk(): Promise<void> {
    if (performance.now() - this.#disk.at < MEASURE_EVERY_MS) return
    const bytes = await measureFolder(this.#parts.folder)
    this.#disk = { bytes, at: performance.now() }
  }

  toUsage({ cpuSeconds, memoryBytes }: ProcessUsage): VmUsage {
    // The time of a child that nobody waited for is missing from later readings.
    this.#cpuSeconds = Math.max(this.#cpuSeconds, cpuSeconds)
    return {
      vm: this.name,
      run: this.run,
      seconds: (performance.now() - this.#startedAt) / 1_000,
      cpuSeconds: this.#cpuSeconds,
      memoryBytes,
      diskBytes: this.#disk.bytes,
    }
  }

  #follow(stream: 'stdout' | 'stderr'): void {
    const { name: vm, child, log } = this.#parts
    const output = child[stream]
    if (!output) return
    readLines(output, (line) => {
      log.info({ vm, stream, line }, 'VM output')
      if (stream === 'stderr') this.#lastLines.push(line)
      if (this.#lastLines.length > LAST_LINES) this.#lastLines.shift()
    })
  }

  #watchExit(): Promise<VmExit> {
    const { child } = this.#parts
    const { promise, resolve } = Promise.withResolvers<VmExit>()
    child.once('exit', (code, signal) => {
      this.#ended = true
      this.#killGroup()
      const settle = () => {
        clearTimeout(timer)
        for (const stream of child.stdio) stream?.destroy()
        resolve({
          ...(code !== null && { code }),
          ...(signal !== null && { signal }),
          lastLines: [...this.#lastLines],
        })
      }
      const timer = setTimeout(settle, OUTPUT_GRACE_MS)
      child.once('close', settle)
    })
    return promise
  }

  /** The first report counts; the channel stays open, for it is how the program notices that we have ended. */
  #watchReports(): Promise<'ports'> {
    const { name: vm, child, log } = this.#parts
    const { promise, resolve } = Promise.withResolvers<'ports'>()
    const channel = child.stdio[REPORT_FD]
    if (!(channel instanceof Readable)) return promise
    const onLine = (line: string) => {
      const ports = parsePortReport(line)
      if (!ports) return log.warn({ vm }, 'VM sent a message that is no port report')
      if (Object.keys(this.#ports).length === 0) this.#ports = ports
      resolve('ports')
    }
    readLines(channel, onLine, { maxCharacters: MAX_REPORT_CHARACTERS })
    return promise
  }

  /** The program and all it started. */
  #killGroup(): void {
    if (this.pid === 0) return
    try {
      process.kill(-this.pid, 'SIGKILL')
    } catch (error) {
      // ESRCH: the group is gone already, which is what was wanted.
      if (codeOf(error) !== 'ESRCH')
        this.#parts.log.warn({ vm: this.name, err: error }, 'VM process group could not be ended')
    }
  }
}
