/** `/v1/table/accept`: an operator's word that the store's data may replace what edges know. */

import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { commitPlanned } from '../records/edits.ts'
import type { Store } from '../store/store.ts'
import { checkMay } from './caller.ts'
import { auditsOf, logChange } from './changes.ts'
import type { ApiContext } from './context.ts'
import { type Answer, answerOnce } from './idempotency.ts'
import { refuseOtherMethods } from './problems.ts'
import { withProblems } from './schemas.ts'

const ITEM = '/v1/table/accept'
const PREFIX = 'accept/'
/** Only there until a store that was never written to has its identity. */
const FIRST_KEY = `${PREFIX}first`
const VIEW = Type.Object({ storeId: Type.String(), at: Type.String(), by: Type.String() })

export function addTable(app: FastifyInstance, context: ApiContext): void {
  app.post(
    ITEM,
    {
      schema: withProblems({
        summary: 'Lets edges load a store that lost its data or is another one',
        description:
          'Edges that know routes hold on to them when the store turns out to be another one than before. ' +
          'This says that the present store, empty or not, is the right one.',
        response: { 200: VIEW, 201: VIEW },
      }),
    },
    (request, reply) =>
      answerOnce(request, reply, context, { verb: 'admin', make: () => acceptStore(request, context) }),
  )
  refuseOtherMethods(app, ITEM, ['POST'])
}

async function acceptStore(request: FastifyRequest, context: ApiContext): Promise<Answer> {
  checkMay(request.caller, 'admin', undefined)
  const { store, now } = context
  const acceptance = { at: now().toISOString(), by: request.caller.id }
  const storeId = await getStoreId(store)
  const key = PREFIX + storeId
  const { plan } = await commitPlanned(
    store,
    async () => {
      const before = await store.get(key)
      return { before, edits: [{ key, before, after: before?.value ?? acceptance }] }
    },
    ({ edits }) => auditsOf(request, context, { edits, pool: undefined }),
  )
  if (plan.before === undefined) logChange(request, context, { key })
  const { at, by } = { ...acceptance, ...plan.before?.value }
  return { status: plan.before === undefined ? 201 : 200, body: { storeId, at, by } }
}

/** The identity is made at the first write, and a store that lost everything has none. */
async function getStoreId(store: Pick<Store, 'list' | 'put' | 'delete'>): Promise<string> {
  const { storeId } = await store.list(PREFIX, { limit: 1 })
  if (storeId !== '') return storeId
  await store.put(FIRST_KEY, {})
  await store.delete(FIRST_KEY)
  return (await store.list(PREFIX, { limit: 1 })).storeId
}
