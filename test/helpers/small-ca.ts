/** A small CA of the tests' own: real signatures and certificates, over HTTP or HTTPS, with faults on demand. */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { text as readText } from 'node:stream/consumers'
import type { Test } from 'tap'
import { createServerIdentity, type ServerIdentity } from './server-identity.ts'
import { SmallProtocol } from './small-ca-protocol.ts'
import {
  type Reply,
  type SmallCaOptions,
  type SmallIssued,
  type SmallOrder,
  SmallProblem,
  toProblem,
} from './small-ca-types.ts'

/** What is asked for; `order` is a poll, `newOrder` makes one. */
export type SmallResource =
  | 'directory'
  | 'nonce'
  | 'account'
  | 'newOrder'
  | 'order'
  | 'authorization'
  | 'challenge'
  | 'finalize'
  | 'certificate'
  | 'renewal-info'

/**
 * `hang` never answers; `drop` closes the connection before anything was done; `lose` does it and closes instead of
 * answering. A reply is sent as it is, with nothing done; `problem` makes one.
 */
export type SmallFault = 'hang' | 'drop' | 'lose' | Reply

export interface SmallCa {
  readonly directory: string
  readonly port: number
  /** Of the certificates that it issues. */
  readonly rootPem: string
  /** Of its own server; with HTTPS alone. */
  readonly serverRootPem: string | undefined
  /** May be changed at any time. */
  readonly options: SmallCaOptions
  readonly orders: readonly SmallOrder[]
  readonly issued: readonly SmallIssued[]
  /** URLs. */
  readonly accounts: () => readonly string[]
  /** What each account was made with. */
  readonly registrations: () => readonly object[]
  /** What was asked for, in order, those with faults too. */
  readonly requests: SmallResource[]
  /** The next requests for it fail in these ways, one each; `Infinity` of `times`: until `heal`. */
  readonly fail: (resource: SmallResource, fault: SmallFault, times?: number) => void
  readonly heal: () => void
  readonly forgetAccounts: () => void
  /** From now on the window for its renewal lies in the past. */
  readonly revoke: (certId: string) => void
  readonly stop: () => Promise<void>
  /** On the same port, with everything it had. */
  readonly start: () => Promise<void>
}

export interface SmallCaServerOptions extends SmallCaOptions {
  /** Default false: plain HTTP on 127.0.0.1. */
  readonly isHttps?: boolean
}

/** A reply for `fail`; `retryAfter` is a header's text. */
export function problem(status: number, type: string, detail = 'on demand', retryAfter?: string): Reply {
  const reply = toProblem(new SmallProblem(status, type, detail))
  return retryAfter === undefined
    ? reply
    : { ...reply, headers: { ...reply.headers, 'retry-after': retryAfter } }
}

export async function smallCaFor(t: Test, options: SmallCaServerOptions = {}): Promise<SmallCa> {
  const protocol = await SmallProtocol.create(options)
  const server = new SmallServer(protocol, options.isHttps ? await createServerIdentity() : undefined)
  await server.start(0)
  t.teardown(() => server.stop())
  const { port } = server
  return {
    directory: `${protocol.accounts.base}/directory`,
    port,
    rootPem: protocol.issuer.rootPem,
    serverRootPem: server.identity?.rootPem,
    options,
    orders: protocol.orders,
    issued: protocol.issued,
    accounts: () => [...protocol.accounts.known.keys()],
    registrations: () => [...protocol.accounts.known.values()].map(({ payload }) => payload),
    requests: server.requests,
    fail: (resource, fault, times = 1) => server.faults.set(resource, { fault, times }),
    heal: () => server.faults.clear(),
    forgetAccounts: () => protocol.accounts.known.clear(),
    revoke: (certId) => {
      for (const item of protocol.issued) if (item.certId === certId) item.isRevoked = true
    },
    stop: () => server.stop(),
    start: () => server.start(port),
  }
}

class SmallServer {
  port = 0
  readonly identity: ServerIdentity | undefined
  readonly faults = new Map<SmallResource, { readonly fault: SmallFault; times: number }>()
  readonly requests: SmallResource[] = []
  readonly #protocol: SmallProtocol
  readonly #sockets = new Set<Socket>()
  #server: ReturnType<typeof createServer> | undefined

  constructor(protocol: SmallProtocol, identity: ServerIdentity | undefined) {
    this.#protocol = protocol
    this.identity = identity
  }

  async start(port: number): Promise<void> {
    const listen = (request: IncomingMessage, response: ServerResponse) => {
      this.#answer(request, response).catch(() => response.destroy())
    }
    const { identity } = this
    const server = identity ? createHttpsServer(identity, listen) : createServer(listen)
    server.on(identity ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
    this.#server = server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    this.port = (server.address() as AddressInfo).port
    const origin = identity ? `https://localhost:${this.port}` : `http://127.0.0.1:${this.port}`
    this.#protocol.accounts.base = origin
  }

  async stop(): Promise<void> {
    const server = this.#server
    if (!server?.listening) return
    server.close()
    for (const socket of this.#sockets) socket.destroy()
    await once(server, 'close')
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '/'
    const resource = toResource(path)
    this.requests.push(resource)
    const body = await readText(request)
    const fault = this.#takeFault(resource)
    if (fault === 'hang') return
    if (fault === 'drop') return void response.destroy()
    const reply = typeof fault === 'object' ? fault : await this.#carryOut(path, body)
    if (fault === 'lose') return void response.destroy()
    this.#send(response, reply)
  }

  #takeFault(resource: SmallResource): SmallFault | undefined {
    const found = this.faults.get(resource)
    if (!found || found.times <= 0) return undefined
    found.times -= 1
    return found.fault
  }

  async #carryOut(path: string, body: string): Promise<Reply> {
    try {
      const [, resource, id = ''] = path.split('/')
      if (resource === 'directory') return this.#protocol.directory()
      if (resource === 'nonce') return { status: 200 }
      if (resource === 'renewal-info') return this.#protocol.renewalInfo(id)
      return await this.#protocol.post(path, body)
    } catch (error) {
      return toProblem(
        error instanceof SmallProblem ? error : new SmallProblem(500, 'serverInternal', `${error}`),
      )
    }
  }

  #send(response: ServerResponse, { status, body, headers = {} }: Reply): void {
    response.writeHead(status, {
      'content-type': 'application/json',
      'replay-nonce': this.#protocol.accounts.nonce(),
      'cache-control': 'no-store',
      ...headers,
    })
    response.end(typeof body === 'object' ? JSON.stringify(body) : body)
  }
}

function toResource(path: string): SmallResource {
  const [, resource = '', id] = path.split('/')
  return (resource === 'order' && id === undefined ? 'newOrder' : resource) as SmallResource
}
