/** What the rest needs of orders: to ask for a certificate, and to hear how it goes. */

import type { KeyType, OrderRow } from '../rows.ts'

export interface OrderDemand {
  readonly name: string
  readonly names: readonly string[]
  readonly keyType: KeyType
  readonly cause: OrderRow['cause']
  /** Ends the pause of one that failed, as an operator's does; `cause` then stays what it was. */
  readonly isUrgent?: true
}

export interface Orders {
  /**
   * Writes the demand for the fleet, whichever edge carries it out; nothing when there is an order already. A failed
   * one that waits is left to wait unless it is urgent, or the cause is `operator`.
   */
  want(demand: OrderDemand): Promise<void>
  /** Ended orders of this edge by `<CA's host>,<result>`; results are `issued` and the codes of failures. */
  counts(): ReadonlyMap<string, number>
}

export interface CarriedOrders extends Orders, AsyncDisposable {
  /** Nothing is carried out before: an edge that starts does not answer challenges yet. */
  open(): void
}
