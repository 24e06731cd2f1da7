/** A Redis server of the benchmark's own: it keeps nothing, and ends with the run. */

import { join } from 'node:path'
import type { BenchContext } from '../frame/benchmark.ts'
import { type Child, startChild } from '../frame/child.ts'
import { LOAD_CORE } from '../frame/cores.ts'
import { findFreePorts } from '../frame/free-ports.ts'

export interface RedisServer extends AsyncDisposable {
  readonly url: string
}

/** @throws BenchError when it does not start */
export async function startRedisServer({ programs, folder, signal }: BenchContext): Promise<RedisServer> {
  const [port = 0] = await findFreePorts(1)
  const settings = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', folder]
  const child: Child = await startChild({
    name: 'redis-server',
    core: LOAD_CORE,
    command: [programs['redis-server'].path, ...settings],
    cwd: folder,
    outputFile: join(folder, 'redis.log'),
    ports: [port],
    signal,
  })
  return { url: `redis://127.0.0.1:${port}`, [Symbol.asyncDispose]: () => child[Symbol.asyncDispose]() }
}
