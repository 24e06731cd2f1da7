/** What a table could be instead: a plain Map of the same records as objects; and the limit, a Map with nothing in it. */

import type { RouteRecord } from '../../routing/records/records.ts'
import { toDocument } from '../../routing/store/document-json.ts'
import { measureLookups } from './lookups.ts'
import { rowOf } from './rows.ts'
import { type Memory, readInput, readMemory, tell } from './task-side.ts'

export interface PeerInput {
  readonly kind: 'map' | 'empty'
  readonly routes: number
  readonly rounds: number
}

export interface PeerResults {
  readonly used: Memory
  readonly lookupNs: number
}

const { kind, routes, rounds } = readInput<PeerInput>()
const map = new Map<string, RouteRecord>()
for (let index = 0; kind === 'map' && index < routes; index += 1) {
  const record = toDocument(JSON.stringify(rowOf(index))) as RouteRecord
  map.set(record.hostname, record)
}
const read = (name: string) => map.get(name)?.generation ?? 0
const lookupNs = await measureLookups(read, { routes, rounds }, kind === 'map' ? undefined : () => 0)
tell({ used: await readMemory(), lookupNs } satisfies PeerResults)
