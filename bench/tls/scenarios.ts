/** What is asked of the servers of the TLS benchmark, and what Landfall is to reach in it. */

import type { Load } from './handshakes.ts'

export interface TlsScenario extends Pick<Load, 'mode' | 'draw'> {
  readonly certificates: 'one' | 'many'
  /** Landfall's CPU time is to be at most this many times nginx's. */
  readonly maxRatio?: number
  /** It is to be at most this many times what Landfall needs with one certificate. */
  readonly maxGrowth?: number
}

const NGINX_RATIO = 1.3
const GROWTH = 1.05

export const SCENARIOS: readonly TlsScenario[] = [
  { mode: 'full', draw: 'busy', certificates: 'one', maxRatio: NGINX_RATIO },
  { mode: 'full', draw: 'busy', certificates: 'many', maxGrowth: GROWTH },
  { mode: 'resumed', draw: 'busy', certificates: 'one' },
  { mode: 'resumed', draw: 'busy', certificates: 'many', maxGrowth: GROWTH },
  { mode: 'full', draw: 'popular', certificates: 'many' },
  { mode: 'full', draw: 'each', certificates: 'many' },
]

const DRAWS = { busy: '500 busy', popular: 'by popularity', each: 'each in turn' } as const

export function titleOf({ mode, draw, certificates }: TlsScenario, many: number): string {
  return certificates === 'one' ? `${mode}, 1 certificate` : `${mode}, ${many} certificates, ${DRAWS[draw]}`
}

/** The same with one certificate, which growth is reckoned from. */
export function baseOf({ mode }: TlsScenario): TlsScenario | undefined {
  return SCENARIOS.find((other) => other.mode === mode && other.certificates === 'one')
}
