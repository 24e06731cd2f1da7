/** What every resource of the admin API is given. */

import type { Log } from '../../lib/log.ts'
import type { Store } from '../store.ts'

export interface ApiDeps {
  readonly store: Store
  readonly log: Log
  readonly table: TableView
  /** Answers for `domain/` proofs; node:dns/promises fits. @throws errors with Node's DNS codes */
  readonly dns: DnsReader
}

/** The edge's own table, as far as the API speaks of it. */
export interface TableView {
  readonly revision: number
  status(): object
}

export interface DnsReader {
  resolveTxt(name: string): Promise<string[][]>
  resolveCname(name: string): Promise<string[]>
}

export interface ApiSettings {
  /** The platform domain: VMs are `<vm>.<domain>`. */
  readonly domain: string
  /** The bootstrap token of this edge. */
  readonly token: string
  /** True where several edges share the store: the bootstrap token then only makes the first real one. */
  readonly isFleet: boolean
  /** Requests a second that one token may make for long; ten times as many at once. */
  readonly ratePerSecond: number
  /** The public HTTPS address of a host name, with the port where it is not 443. */
  readonly urlOf: (hostname: string) => string
}

export interface ApiContext extends ApiDeps, ApiSettings {
  readonly now: () => Date
}
