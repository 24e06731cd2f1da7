/** What each server has to prove before it is timed: the right certificate for each name, TLS as offered, sessions that resume. */

import { connect, type SecureContext, type TLSSocket } from 'node:tls'
import { BenchError } from '../frame/benchmark.ts'
import { sendRequest } from '../frame/request.ts'
import { BACKEND_BODY } from '../proxies/backend.ts'
import { ALPN, createClientContext, findChoiceFaults, hasName } from './client-context.ts'
import type { Target } from './handshakes.ts'
import type { TlsLineup } from './lineup.ts'
import { busyOf, nameOfRank } from './names.ts'

const CHECKED = 8

/** @throws BenchError that names everything that is wrong */
export async function checkServer(
  { name: server, names, port }: Target,
  { caPem, signal }: Pick<TlsLineup, 'caPem'> & { readonly signal: AbortSignal },
): Promise<void> {
  const secureContext = createClientContext(caPem)
  const faults: string[] = []
  for (const name of pickNames(names)) {
    const ask = { port, name, secureContext, caPem, signal }
    faults.push(...(await findFaults(ask).catch((error: Error) => [`${name}: ${error.message}`])))
  }
  signal.throwIfAborted()
  if (faults.length > 0) throw new BenchError(`${server} with ${names}: ${faults.join('; ')}`)
}

async function findFaults(ask: Ask & { readonly caPem: string }): Promise<string[]> {
  const { name } = ask
  const first = await shake(ask)
  const second = await shake({ ...ask, session: first.session })
  return [
    ...first.faults,
    ...second.faults,
    ...(first.isResumed ? [`${name} was resumed without a session`] : []),
    ...(second.isResumed ? [] : [`${name} was not resumed`]),
    ...(await findAnswerFaults(ask)),
  ]
}

/** Of both ends and between. */
function pickNames(names: number): readonly string[] {
  const ranks = Array.from({ length: CHECKED }, (_, index) =>
    Math.floor((index * (names - 1)) / (CHECKED - 1)),
  )
  return [...new Set([...ranks, busyOf(names) - 1])].map((rank) => nameOfRank(rank, names))
}

interface Ask {
  readonly port: number
  readonly name: string
  readonly secureContext: SecureContext
  readonly session?: Buffer | undefined
  readonly signal: AbortSignal
}

interface Shaken {
  readonly isResumed: boolean
  /** The last one that came. */
  readonly session: Buffer | undefined
  readonly faults: readonly string[]
}

/** A request brings the sessions with its answer: each comes at the latest before it. */
async function shake({ port, name, secureContext, session, signal }: Ask): Promise<Shaken> {
  const { promise, resolve, reject } = Promise.withResolvers<Shaken>()
  const socket: TLSSocket = connect({
    ...{ port, host: '127.0.0.1', servername: name, secureContext, ALPNProtocols: ALPN },
    ...(session !== undefined && { session }),
  })
  let latest: Buffer | undefined
  const end = () => reject(signal.reason)
  signal.addEventListener('abort', end)
  socket.on('session', (bytes) => {
    latest = bytes
  })
  socket.once('error', reject)
  socket.once('secureConnect', () => {
    const isResumed = socket.isSessionReused()
    // The server shows none when it resumes.
    const isRight = isResumed || hasName(socket, name)
    const faults = [...findChoiceFaults(socket), ...(isRight ? [] : ['another certificate'])]
    socket.once('data', () =>
      resolve({ isResumed, session: latest, faults: faults.map((text) => `${name}: ${text}`) }),
    )
    socket.write(`GET / HTTP/1.1\r\nHost: ${name}:${port}\r\n\r\n`)
  })
  return promise.finally(() => {
    signal.removeEventListener('abort', end)
    socket.destroy()
  })
}

/** That a server stands behind the handshake. */
async function findAnswerFaults({
  port,
  name,
  caPem,
  signal,
}: Ask & { readonly caPem: string }): Promise<string[]> {
  const question = { protocol: 'TLS h1', port, hostname: name, caPem, path: '/', signal } as const
  const { status, body } = await sendRequest(question)
  return status === 200 && body === BACKEND_BODY ? [] : [`${name} answers ${status}`]
}
