/** Writes through the admin API, each a PUT of a route over HTTP, one after the other on a few connections. */

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import { createSealer } from '../../lib/seal.ts'
import type { ApiDeps } from '../../routing/api/context.ts'
import { startAdminApi } from '../../routing/api/server.ts'
import { BenchError } from '../frame/benchmark.ts'

const CONNECTIONS = 4
/** Node compiles what it has run often. */
const WARM_SECONDS = 1
const TOKEN = 'a-token-for-the-benchmark-and-nothing-else'

/** Milliseconds of each write. @throws BenchError when one is refused */
export async function measureWrites(
  deps: Pick<ApiDeps, 'store' | 'table' | 'log'>,
  seconds: number,
): Promise<number[]> {
  const noDns = () => Promise.reject(new Error('there is no DNS here'))
  const noDesk = () => Promise.reject(new Error('there are no certificates here'))
  await using api = await startAdminApi(
    {
      ...deps,
      dns: { resolveTxt: noDns, resolveCname: noDns },
      sealer: createSealer(randomBytes(32)),
      signer: { sign: () => Promise.reject(new Error('nothing is signed here')) },
      findUser: async () => undefined,
      poolsOf: () => [],
      certificates: { check: noDesk, view: noDesk, upload: noDesk, remove: noDesk, renew: noDesk },
    },
    {
      domain: 'landfall.example',
      token: TOKEN,
      isFleet: false,
      ratePerSecond: 1_000_000,
      urlOf: (hostname) => `https://${hostname}/`,
      tokenDays: 365,
    },
  )
  const agent = new PipeAgent(() => api.connect())
  const write = createWrite(agent)
  await writeFor(WARM_SECONDS, write)
  const times = await writeFor(seconds, write)
  agent.destroy()
  return times
}

/** Keeps connections that are no sockets. */
class PipeAgent extends Agent {
  readonly #connect: () => Duplex

  constructor(connect: () => Duplex) {
    super({ keepAlive: true, maxSockets: CONNECTIONS })
    this.#connect = connect
  }

  override createConnection(): Duplex {
    return Object.assign(this.#connect(), { ref: () => {} })
  }

  override keepSocketAlive(): boolean {
    return true
  }
}

async function writeFor(seconds: number, write: () => Promise<number>): Promise<number[]> {
  const until = performance.now() + seconds * 1_000
  const times: number[] = []
  const work = async () => {
    while (performance.now() < until) times.push(await write())
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, work))
  return times
}

function createWrite(agent: Agent): () => Promise<number> {
  let count = 0
  return async () => {
    count += 1
    const body = JSON.stringify({ upstream: `10.0.0.1:${1_024 + (count % 60_000)}`, visibility: 'public' })
    const headers = {
      host: 'admin.landfall.example',
      authorization: `Bearer ${TOKEN}`,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    }
    const startedAt = performance.now()
    const path = `/v1/routes/api-${count % 5_000}.bench.example`
    const outgoing = request({ agent, method: 'PUT', path, headers })
    outgoing.end(body)
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage]
    const answered = await text(answer)
    if ((answer.statusCode ?? 0) >= 300)
      throw new BenchError(`a write was answered ${answer.statusCode}: ${answered}`)
    return performance.now() - startedAt
  }
}
