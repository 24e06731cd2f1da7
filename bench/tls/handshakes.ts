/** Load of handshakes on one server: one client process on each core that the server has not got. */

import { BenchError } from '../frame/benchmark.ts'
import { ALL_CORES, LOAD_CORE, PROXY_CORE } from '../frame/cores.ts'
import { startTask, type Task } from '../table/task.ts'
import type { HandshakeAnswer, HandshakeInput, HandshakeOrder } from './handshake-task.ts'
import type { Draw } from './names.ts'

export interface Target {
  readonly name: string
  readonly port: number
  /** How many names it has certificates for. */
  readonly names: number
}

export interface Load {
  readonly mode: 'full' | 'resumed'
  readonly draw: Draw
  readonly seconds: number
}

export interface HandshakeClients extends AsyncDisposable {
  /** One full handshake with each busy name. @throws BenchError */
  prime(target: Target): Promise<void>
  /** @throws BenchError when one handshake failed, was not of the kind that was asked for, or showed another's certificate */
  run(target: Target, load: Load): Promise<{ readonly handshakes: number; readonly perSecond: number }>
}

const TASK = new URL('handshake-task.ts', import.meta.url).href
/** In all; more were measured to change nothing. */
const CONNECTIONS = 16
const MAX_CLIENTS = 4

export function startHandshakeClients(signal: AbortSignal): HandshakeClients {
  const others = ALL_CORES.filter((core) => core !== PROXY_CORE).slice(0, MAX_CLIENTS)
  const cores = others.length === 0 ? [LOAD_CORE] : others
  const input: HandshakeInput = { connections: Math.ceil(CONNECTIONS / cores.length) }
  const tasks = cores.map((core) => startTask({ file: TASK, input, cores: [core], signal }))
  /** Where names are asked for in turn, each round and each client goes on with other names. */
  let start = 0
  return {
    async prime({ name, port, names }) {
      await Promise.all(tasks.map((task) => give(task, name, { kind: 'prime', port, names })))
    },
    async run({ name, port, names }, load) {
      const answers = tasks.map((task, index) => {
        const from = start + Math.floor((index * names) / tasks.length)
        return give(task, name, { kind: 'run', port, names, ...load, start: from })
      })
      const done = await Promise.all(answers)
      start += Math.max(...done.map(({ handshakes }) => handshakes))
      const handshakes = done.reduce((sum, answer) => sum + answer.handshakes, 0)
      return { handshakes, perSecond: done.reduce((sum, one) => sum + one.handshakes / one.seconds, 0) }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(tasks.map((task) => task[Symbol.asyncDispose]()))
    },
  }
}

async function give(task: Task, name: string, order: HandshakeOrder) {
  task.send(order)
  const answer = await task.receive<HandshakeAnswer>()
  if ('failure' in answer) throw new BenchError(`${name}: ${answer.failure}`)
  return answer
}
