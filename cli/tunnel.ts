/** A port of a VM as a byte stream: CONNECT over TLS (RFC 9110 section 9.3.6), through the edge that serves the VM's URL. */

import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { type RequestOptions, request } from 'node:https'
import type { Duplex, Readable, Writable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { refusalOf } from './api.ts'
import { ApiRefusal, CliError, Interrupted } from './errors.ts'
import { explainFailure, lookUpLocally } from './transport.ts'

export interface TunnelTarget {
  /** The VM's URL: it says where the edge listens. */
  readonly url: string
  readonly port: number
  /** PEM of authorities in place of the system's. */
  readonly ca?: string
  readonly signal: AbortSignal
}

export interface TunnelEnds {
  readonly stdin: Readable
  readonly stdout: Writable
  readonly signal: AbortSignal
}

/** A VM that is asleep wakes meanwhile. */
const TIMEOUT_MS = 90_000
/** Refusals that end when the port is opened. */
const CLOSED = ['auth_required', 'route_port_unknown']

/** @throws ApiRefusal when the edge refuses; CliError `cli_unreachable`, `cli_untrusted`, `cli_slow`; Interrupted */
export async function openTunnel({ url, port, ca, signal }: TunnelTarget): Promise<Duplex> {
  const { hostname, port: edgePort } = new URL(url)
  const limit = AbortSignal.timeout(TIMEOUT_MS)
  const ended = AbortSignal.any([signal, limit])
  const options: RequestOptions & { readonly allowHalfOpen: true } = {
    method: 'CONNECT',
    path: `${hostname}:${port}`,
    hostname,
    servername: hostname,
    port: edgePort === '' ? 443 : Number(edgePort),
    headers: { host: `${hostname}:${port}`, accept: 'application/problem+json' },
    agent: false,
    // Node hands it on to TLS: a program that has said all may still be answered.
    allowHalfOpen: true,
    lookup: lookUpLocally,
    ...(ca !== undefined && { ca }),
  }
  const sent = request(options)
  const give = () => sent.destroy(new Error('given up'))
  ended.addEventListener('abort', give)
  try {
    sent.end()
    const [answer, socket, head] = (await once(sent, 'connect')) as [IncomingMessage, Duplex, Buffer]
    socket.unshift(head)
    if (answer.statusCode === 200) return socket
    throw await readRefusal(answer, socket)
  } catch (error) {
    if (error instanceof ApiRefusal || error instanceof CliError) throw error
    throw explainFailure(error, { url, signal, limit })
  } finally {
    ended.removeEventListener('abort', give)
  }
}

/** Copies both ways until the VM has ended its side. @throws CliError `cli_unreachable`, Interrupted */
export async function joinTunnel(tunnel: Duplex, { stdin, stdout, signal }: TunnelEnds): Promise<void> {
  stdin.pipe(tunnel)
  try {
    await pipeline(tunnel, stdout, { end: false, signal })
  } catch (cause) {
    if (signal.aborted) throw new Interrupted('interrupted', { cause })
    throw new CliError('cli_unreachable', { cause, detail: 'The connection to the VM was cut.' })
  } finally {
    // Open, it would keep the process waiting for a line that nobody reads.
    stdin.unpipe(tunnel).destroy()
    tunnel.destroy()
  }
}

/** The refusal, with what to type where the port is closed. */
export function withPortHint(error: unknown, { vm, port }: { vm: string; port: number }): unknown {
  if (!(error instanceof ApiRefusal && CLOSED.includes(error.code))) return error
  const keys = port === 22 ? ' SSH has its own keys: who has none gets no further.' : ''
  const next = `Open the port with "landfall port set ${vm} ${port} --public".${keys}`
  return new ApiRefusal({ ...error.problem, next })
}

/** The edge closes the connection behind its answer. */
async function readRefusal({ statusCode = 0, headers }: IncomingMessage, socket: Duplex): Promise<Error> {
  const body = await buffer(socket)
  return refusalOf({ status: statusCode, headers, text: body.toString() })
}
