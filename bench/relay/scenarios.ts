/** The three ways a client speaks to a proxy, with the load for each and what Landfall is to reach. */

import type { Programs } from '../frame/programs.ts'
import type { Protocol } from '../frame/request.ts'
import { runH2load } from '../load/h2load.ts'
import type { Load, LoadSettings, Target } from '../load/load.ts'
import { runWrk } from '../load/wrk.ts'
import type { Ports } from '../proxies/proxy.ts'

export interface Scenario {
  readonly name: Protocol
  readonly port: keyof Ports
  readonly scheme: Target['scheme']
  /** Landfall's CPU time for a request is to be at most this many times nginx's. */
  readonly maxRatio: number
  run(programs: Programs, target: Target, settings: LoadSettings): Promise<Load>
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'plain h1',
    port: 'plain',
    scheme: 'http',
    maxRatio: 1.6,
    run: ({ wrk }, target, settings) => runWrk(wrk, target, settings),
  },
  {
    name: 'TLS h1',
    port: 'tls',
    scheme: 'https',
    maxRatio: 1.7,
    run: ({ wrk }, target, settings) => runWrk(wrk, target, settings),
  },
  {
    name: 'TLS h2',
    port: 'h2',
    scheme: 'https',
    maxRatio: 2.6,
    run: ({ h2load }, target, settings) => runH2load(h2load, target, settings),
  },
]
