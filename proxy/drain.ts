/** The end of an edge: open requests may finish, new ones go elsewhere, and a deadline ends the rest. */

import { setTimeout as delay } from 'node:timers/promises'
import type { ClientRegistry } from './client-registry.ts'
import { RelayError } from './errors.ts'
import type { Listener } from './tls-listener.ts'

const DRAIN_POLL_MS = 20
/** For the answers that say that the edge went away. */
const LAST_WORD_MS = 200

export interface Drained {
  readonly clients: ClientRegistry
  readonly drainState: { isDraining: boolean }
  readonly tunnels: ReadonlySet<Disposable>
}

/** Lets open requests end for `drainMs`; then those without an answer get 503 and the others are cut. */
export async function drain(
  listeners: readonly Listener[],
  { clients, drainState, tunnels }: Drained,
  drainMs: number,
): Promise<void> {
  drainState.isDraining = true
  clients.endConnections()
  for (const listener of listeners) listener.stopAccepting()
  await waitUntilIdle(clients, drainMs)
  clients.failAll(new RelayError('draining'))
  for (const tunnel of tunnels) tunnel[Symbol.dispose]()
  await waitUntilIdle(clients, LAST_WORD_MS)
  clients.destroyAll()
}

async function waitUntilIdle(clients: ClientRegistry, limitMs: number): Promise<void> {
  const deadline = performance.now() + limitMs
  while (clients.isBusy && performance.now() < deadline) await delay(DRAIN_POLL_MS)
}
