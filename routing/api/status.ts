/** `/v1/status`: how the platform is, as this edge sees it. */

import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { LandfallError } from '../../lib/errors.ts'
import { EDGES, HOSTS, type Kind, POOLS, VMS } from '../records/record-kinds.ts'
import { COUNT } from '../records/schema.ts'
import type { Store } from '../store/store.ts'
import { may } from './caller.ts'
import type { ApiContext } from './context.ts'
import { refuseOtherMethods } from './problems.ts'
import { withProblems } from './schemas.ts'

const ITEM = '/v1/status'
const PAGE_LIMIT = 5_000
/** Counting 100,000 VMs takes half a second: whoever asks again meanwhile gets the same counts. */
const COUNTS_MS = 5_000

const LIVES = Type.Object({ alive: COUNT, dead: COUNT })
const VIEW = Type.Object({
  store: Type.Object({
    isReachable: Type.Boolean(),
    revision: Type.Optional(COUNT),
    storeId: Type.Optional(Type.String()),
    code: Type.Optional(Type.String({ description: 'why it is not reachable' })),
  }),
  table: Type.Object({}, { additionalProperties: true, description: "this edge's own copy of the routes" }),
  counts: Type.Optional(Type.Object({ pools: COUNT, vms: COUNT })),
  hosts: Type.Optional(LIVES),
  edges: Type.Optional(LIVES),
})

export function addStatus(app: FastifyInstance, context: ApiContext): void {
  const findCounts = createCounts(context)
  app.get(
    ITEM,
    {
      schema: withProblems({
        summary: 'How the store, this edge and the fleet are',
        description:
          'Counts are up to five seconds old, and left out for tokens that may not read all pools and while the ' +
          'store is away.',
        response: { 200: VIEW },
      }),
    },
    (request) => getStatus(request, context, findCounts),
  )
  refuseOtherMethods(app, ITEM, ['GET', 'HEAD'])
}

type Counts = Awaited<ReturnType<typeof countAll>>

async function getStatus(
  { caller }: FastifyRequest,
  { store, table }: ApiContext,
  findCounts: () => Promise<Counts>,
) {
  try {
    const { revision, storeId } = await store.list(POOLS.prefix, { limit: 1 })
    const counts = may(caller, 'read', undefined) ? await findCounts() : {}
    return { store: { isReachable: true, revision, storeId }, table: table.status(), ...counts }
  } catch (error) {
    if (!(error instanceof LandfallError)) throw error
    return { store: { isReachable: false, code: error.code }, table: table.status() }
  }
}

/** Counts again when the last counts are too old, once for all who ask. */
function createCounts({ store }: ApiContext): () => Promise<Counts> {
  let last: { readonly counts: Promise<Counts>; readonly at: number } | undefined
  return () => {
    if (last !== undefined && performance.now() - last.at < COUNTS_MS) return last.counts
    const counts = countAll(store)
    last = { counts, at: performance.now() }
    counts.catch(() => {
      last = undefined
    })
    return counts
  }
}

async function countAll(store: Store) {
  const [pools, vms, hosts, edges] = await Promise.all([
    countRecords(store, POOLS),
    countRecords(store, VMS),
    countLives(store, HOSTS),
    countLives(store, EDGES),
  ])
  return { counts: { pools, vms }, hosts, edges }
}

async function countRecords(store: Store, { prefix }: Pick<Kind<unknown>, 'prefix'>): Promise<number> {
  let count = 0
  for await (const keys of readKeys(store, prefix)) count += keys.length
  return count
}

async function countLives(store: Store, { prefix }: Pick<Kind<unknown>, 'prefix'>) {
  const lives = { alive: 0, dead: 0 }
  for await (const keys of readKeys(store, prefix)) {
    const leases = await Promise.all(keys.map((key) => store.findLease(key)))
    const alive = leases.filter((lease) => lease !== undefined).length
    lives.alive += alive
    lives.dead += keys.length - alive
  }
  return lives
}

async function* readKeys(store: Store, prefix: string): AsyncIterable<readonly string[]> {
  for (let after: string | undefined = ''; after !== undefined; ) {
    const page = await store.list(prefix, { after, limit: PAGE_LIMIT })
    yield page.documents.map(({ key }) => key)
    after = page.next
  }
}
