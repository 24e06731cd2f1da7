/** The responder's UDP side: one datagram, at most one answer. */

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import type { Endpoint } from '../../lib/address-text.ts'
import type { Log } from '../../lib/log.ts'
import type { AnswerRate, Verdict } from './answer-rate.ts'
import { type Answerer, MAX_QUERY_BYTES } from './answerer.ts'

/** Since the start; each query is counted once. */
export interface DnsCounts {
  answered: number
  answeredOverTcp: number
  /** Above the rate, and told to come over TCP. */
  truncated: number
  /** Above the rate, no query, or too long; over TCP the connection that it came on. */
  dropped: number
}

export interface UdpDeps {
  readonly answerer: Answerer
  readonly rate: AnswerRate
  readonly counts: DnsCounts
  readonly log: Log
}

/** @throws Node's errors when the address cannot be bound */
export async function startUdp(deps: UdpDeps, { host, port }: Endpoint): Promise<AsyncDisposable> {
  const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
  socket.bind(port, host)
  try {
    await once(socket, 'listening')
  } catch (error) {
    socket.close()
    throw error
  }
  socket.on('error', (err) => deps.log.warn({ err }, 'the DNS responder had an error on UDP'))
  socket.on('message', (query, source) => answer(deps, { socket, query, source }))
  return {
    [Symbol.asyncDispose]: async () => {
      const closed = once(socket, 'close')
      socket.close()
      await closed
    },
  }
}

interface Datagram {
  readonly socket: Socket
  readonly query: Buffer
  readonly source: RemoteInfo
}

function answer(deps: UdpDeps, { socket, query, source }: Datagram): void {
  const { counts, log, rate } = deps
  const verdict = query.length > MAX_QUERY_BYTES ? 'drop' : rate.judge(source.address)
  const bytes = verdict === 'drop' ? undefined : findAnswer(deps.answerer, query, verdict)
  if (bytes === undefined) {
    counts.dropped += 1
    return
  }
  counts[verdict === 'truncate' ? 'truncated' : 'answered'] += 1
  try {
    // Without a callback a failed send would be an `error` event for each stranger that is gone.
    socket.send(bytes, source.port, source.address, () => {})
  } catch (err) {
    // A forged datagram may come from port 0, to which Node does not send.
    log.debug({ err }, 'a DNS answer could not be sent')
  }
}

function findAnswer(
  answerer: Answerer,
  query: Buffer,
  verdict: Exclude<Verdict, 'drop'>,
): Buffer | undefined {
  return verdict === 'truncate' ? answerer.truncate(query) : answerer.answer(query, 'udp')
}
