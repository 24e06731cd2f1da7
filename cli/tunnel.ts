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
  /** Undefined where the edge is not to see one. */
  readonly token: string | undefined
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
/** What edges take tokens from and never pass on to a VM. */
const TOKEN_FIELD = 'x-landfall-authorization'
const NO_ENTRY = ['auth_required', 'auth_invalid', 'auth_forbidden', 'auth_role']

/** @throws ApiRefusal when the edge refuses; CliError `cli_unreachable`, `cli_untrusted`, `cli_slow`; Interrupted */
export async function openTunnel({ url, port, token, ca, signal }: TunnelTarget): Promise<Duplex> {
  const { hostname, port: edgePort } = new URL(url)
  const limit = AbortSignal.timeout(TIMEOUT_MS)
  const ended = AbortSignal.any([signal, limit])
  const options: RequestOptions & { readonly allowHalfOpen: true } = {
    method: 'CONNECT',
    path: `${hostname}:${port}`,
    hostname,
    servername: hostname,
    port: edgePort === '' ? 443 : Number(edgePort),
    headers: {
      host: `${hostname}:${port}`,
      accept: 'application/problem+json',
      ...(token !== undefined && { [TOKEN_FIELD]: `Bearer ${token}` }),
    },
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

/**
 * As `openTunnel`, and without the token where the edge does not know it, as the bootstrap token of a fleet: that must
 * not keep anybody from a public port. @throws as `openTunnel`
 */
export async function openPort(target: TunnelTarget): Promise<Duplex> {
  try {
    return await openTunnel(target)
  } catch (error) {
    const isUnknown = error instanceof ApiRefusal && error.code === 'auth_invalid'
    if (target.token === undefined || !isUnknown) throw error
    return openTunnel({ ...target, token: undefined })
  }
}

/** The refusal, with what to type where the port is closed to the caller. */
export function withPortHint(
  error: unknown,
  { vm, pool, port }: { readonly vm: string; readonly pool: string; readonly port: number },
): unknown {
  if (!(error instanceof ApiRefusal)) return error
  const { code, problem } = error
  if (code === 'route_port_unknown') {
    const next = `Give the port a host name with "landfall port set ${vm} ${port} --private".`
    return new ApiRefusal({ ...problem, next })
  }
  if (!NO_ENTRY.includes(code)) return error
  const scope = `--scope ${pool === '' ? 'POOL' : pool}:read,share`
  const next = `It takes a token of the API with "share" or "admin" in the VM's pool: "landfall token new ${scope}" makes one, and "landfall login" or LANDFALL_TOKEN uses it.`
  return new ApiRefusal({ ...problem, next })
}

/** The edge closes the connection behind its answer. */
async function readRefusal({ statusCode = 0, headers }: IncomingMessage, socket: Duplex): Promise<Error> {
  const body = await buffer(socket)
  return refusalOf({ status: statusCode, headers, text: body.toString() })
}
