/** http-proxy-3's pipeline with our own passes in place of its built-in ones, each of which was measured unsafe or slow. */

import { ProxyServer } from 'http-proxy-3'
import type { Exchange } from './exchange.ts'
import { checkLoop, type ForwardingSettings, requestHead } from './forwarding.ts'
import { Relay, type RelayDeps } from './relay.ts'
import type { RelayRoute } from './upstream.ts'
import { type Handshake, readHandshake } from './websocket-handshake.ts'

export interface Engine {
  /** Relays the exchange to the route's upstream. @throws RelayError for what is wrong before a byte is sent */
  relay(exchange: Exchange, route: RelayRoute): void
}

export type EngineDeps = RelayDeps & ForwardingSettings

/** What travels through the pipeline: the engine copies it for each request and hands it to each pass. */
interface Job {
  readonly target: RelayRoute
}

type Pass = (exchange: Exchange, response: unknown, job: Job) => void

/** The arrays that the engine walks through; it offers no public way to take its own passes out. */
interface PassLists {
  webPasses: Pass[]
  wsPasses: Pass[]
}

const KNOWN_PASSES = {
  web: 'deleteLength,timeout,XHeaders,stream',
  ws: 'checkMethodAndHeader,XHeaders,stream',
}

/** @throws Error when the installed http-proxy-3 is not built the way this file knows */
export function createEngine(deps: EngineDeps): Engine {
  const server = new ProxyServer()
  server.on('error', () => {})
  const passes = [refuseLoops(deps), sendOn(deps)]
  replacePasses(server as unknown as PassLists, passes)
  const web = server.web as unknown as (exchange: Exchange, response: Exchange, job: Job) => void
  const ws = server.ws as unknown as (exchange: Exchange, socket: unknown, head: Buffer, job: Job) => void
  const noHead = Buffer.alloc(0)
  return {
    relay(exchange, route) {
      if (exchange.isUpgrade) ws(exchange, exchange.stream, noHead, { target: route })
      else web(exchange, exchange, { target: route })
    },
  }
}

/** The same passes for requests and upgrades, so that none can be gone round with an Upgrade or Expect field. */
function replacePasses(lists: PassLists, passes: Pass[]): void {
  const names = (list: Pass[]) => list.map(({ name }) => name).join(',')
  if (names(lists.webPasses) !== KNOWN_PASSES.web || names(lists.wsPasses) !== KNOWN_PASSES.ws) {
    throw new Error('http-proxy-3 has other passes than this version knows; check them before upgrading it')
  }
  lists.webPasses = passes
  lists.wsPasses = passes
}

function refuseLoops({ loopId }: EngineDeps): Pass {
  return (exchange) => checkLoop(exchange, loopId)
}

function sendOn(deps: EngineDeps): Pass {
  return (exchange, _response, { target: route }) => {
    const handshake = exchange.isUpgrade ? readHandshake(exchange) : undefined
    const head = exchange.isConnect ? '' : requestHead(exchange, deps)
    new Relay({ exchange, route, ...withHandshake(head, handshake) }, deps).start()
  }
}

function withHandshake(head: string, handshake: Handshake | undefined): { head: string; acceptKey?: string } {
  if (handshake === undefined) return { head }
  return { head: `${head.slice(0, -2)}${handshake.extraLines}\r\n`, acceptKey: handshake.acceptKey }
}
