/** The authoritative name server of the delegated zone: what a CA reads for dns-01, straight out of the table. */

import type { Endpoint } from '../../lib/address-text.ts'
import type { Log } from '../../lib/log.ts'
import { codeOf } from '../../lib/node-error.ts'
import { AcmeError } from '../errors.ts'
import { createAnswerRate } from './answer-rate.ts'
import { createAnswerer } from './answerer.ts'
import { startTcp } from './tcp.ts'
import { type DnsCounts, startUdp } from './udp.ts'
import { createZone, type ZoneSettings, type ZoneTable } from './zone.ts'

export interface DnsResponderDeps {
  readonly table: ZoneTable
  readonly log: Log
}

export interface DnsResponderSettings extends ZoneSettings {
  /** UDP and TCP; port 0 takes one that is free in both. */
  readonly listen: Endpoint
  /** UDP answers for one /24 or /56 a second, and at once. Default 100 and 200. */
  readonly answersPerSecond?: number
  readonly burst?: number
  /** TCP connections at once, and of one address. Default 128 and 16. */
  readonly connections?: number
  readonly connectionsOfAddress?: number
  /** Without a byte, and in all. Default 5,000 and 30,000. */
  readonly idleMs?: number
  readonly lifeMs?: number
  /** Milliseconds that never jump. */
  readonly now?: () => number
}

export interface DnsResponder {
  readonly port: number
  counts(): Readonly<DnsCounts>
}

const PORT_TRIES = 20

/**
 * As a weapon it is poor: with EDNS an answer of two values is 2.7 times as long as its question, a denial 2.2 times, one above
 * the rate 1.0 times (measured in its tests); nothing over UDP is longer than 1,232 bytes.
 * @throws AcmeError certificate_setting when the address cannot be listened on, or a name cannot be one in DNS
 */
export async function startDnsResponder(
  deps: DnsResponderDeps,
  settings: DnsResponderSettings,
): Promise<DnsResponder & AsyncDisposable> {
  const { zone, listen, now = () => performance.now(), answersPerSecond = 100, burst = 200 } = settings
  const counts: DnsCounts = { answered: 0, answeredOverTcp: 0, truncated: 0, dropped: 0 }
  const answerer = createAnswerer({ zone: createCheckedZone(deps, settings) }, { zone })
  const rate = createAnswerRate({ answersPerSecond, burst, now })
  const { stack, port } = await listenTwice({ ...deps, answerer, rate, counts }, settings)
  deps.log.info({ zone, address: listen.host, port }, 'the DNS responder answers')
  return {
    port,
    counts: () => ({ ...counts }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

function createCheckedZone({ table }: DnsResponderDeps, { zone, names }: ZoneSettings) {
  try {
    return createZone({ table }, { zone: zone.toLowerCase(), names })
  } catch (cause) {
    const detail = `${[zone, ...names].join(', ')}: not all of these can be names in DNS`
    throw new AcmeError('certificate_setting', { cause, detail })
  }
}

type ListenDeps = Parameters<typeof startUdp>[0] & Parameters<typeof startTcp>[0]

async function listenTwice(deps: ListenDeps, settings: DnsResponderSettings) {
  const { listen } = settings
  for (let left = listen.port === 0 ? PORT_TRIES : 1; ; left--) {
    try {
      return await listenOnce(deps, settings)
    } catch (cause) {
      if (left > 1 && codeOf(cause) === 'EADDRINUSE') continue
      const detail = `DNS cannot be answered at ${listen.host} port ${listen.port}: ${codeOf(cause)}`
      throw new AcmeError('certificate_setting', { cause, detail })
    }
  }
}

async function listenOnce(deps: ListenDeps, settings: DnsResponderSettings) {
  const { listen, connections = 128, connectionsOfAddress = 16, idleMs = 5_000, lifeMs = 30_000 } = settings
  await using starting = new AsyncDisposableStack()
  const tcp = starting.use(
    await startTcp(deps, { listen, connections, connectionsOfAddress, idleMs, lifeMs }),
  )
  starting.use(await startUdp(deps, { host: listen.host, port: tcp.port }))
  return { port: tcp.port, stack: starting.move() }
}
