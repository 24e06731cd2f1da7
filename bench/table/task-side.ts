/** The child's side of a task: its input, its messages, its end. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Log } from '../../lib/log.ts'
import { BenchError } from '../frame/benchmark.ts'

/** Ends this process with its parent. */
export function readInput<Input>(): Input {
  process.once('disconnect', () => process.exit())
  return JSON.parse(process.argv[2] ?? '{}')
}

export function tell(message: object): void {
  process.send?.(message)
}

/** Resolves at the parent's next message. */
export function awaitWord(): Promise<unknown> {
  return new Promise((resolve) => {
    process.once('message', resolve)
  })
}

const nothing = () => {}

/** Whatever goes wrong spoils the measurement. */
export const STRICT_LOG: Log = {
  debug: nothing,
  info: nothing,
  warn: (fields, message) => {
    throw new BenchError(message, { cause: fields.err })
  },
  error: (fields, message) => {
    throw new BenchError(message, { cause: fields.err })
  },
}

export interface Memory {
  /** Heap and buffers of this process, after two full collections. */
  readonly mb: number
  /** For how long the second one stopped the process. */
  readonly collectionMs: number
}

export async function readMemory(): Promise<Memory> {
  globalThis.gc?.()
  await nextTurn()
  const startedAt = performance.now()
  globalThis.gc?.()
  const collectionMs = performance.now() - startedAt
  await nextTurn()
  const { heapUsed, external } = process.memoryUsage()
  return { mb: (heapUsed + external) / 2 ** 20, collectionMs }
}
