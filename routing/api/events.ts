/** `/v1/events`: every change as it happens, as server-sent events. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { LABEL } from '../records/schema.ts'
import { type Caller, checkMay } from './caller.ts'
import type { ApiContext } from './context.ts'
import { EventCallers, type Seat } from './event-callers.ts'
import { openEventFeed } from './event-feed.ts'
import type { Reader } from './event-scope.ts'
import { EventStream } from './event-stream.ts'
import { EVENT_KINDS } from './event-text.ts'
import { refuseOtherMethods } from './problems.ts'
import { strict, withProblems } from './schemas.ts'

const ITEM = '/v1/events'
const TYPE = 'text/event-stream'
const KEEP_ALIVE_MS = 15_000
/** How long a browser waits before it comes back, in milliseconds. */
const OPENING = 'retry: 1000\n'
/** For a caller that is refused because there are too many streams. */
const RETRY_SECONDS = 10

const REVISION = Type.String({ pattern: '^[0-9]{1,15}$', description: 'the id of an event' })
/** Empty is as good as absent. */
const LAST_EVENT_ID = Type.String({ pattern: '^[0-9]{0,15}$', description: 'the id of an event' })

const DESCRIPTION = `Events begin now, or behind the one with the id in Last-Event-ID (which browsers send by themselves) or "after".
Each event has a kind (${EVENT_KINDS.join(', ')}) as its type, a revision as its id, and as data
{"revision", "kind", "name", "action": "put" or "delete", "record"}; "record" is left out of deletions.
Only what the token may read is told; what moves to a pool that it may not read is told as deleted. Tokens are told to
those who are admin over all pools. "resync" says that events may have been missed: list again, events go on from there.`

type GetEvents = {
  Headers: { readonly 'last-event-id'?: string }
  Querystring: { readonly after?: string; readonly pool?: string }
}

export function addEvents(app: FastifyInstance, context: ApiContext): void {
  const callers = new EventCallers(context)
  app.addHook('preClose', async () => callers.endAll())
  app.get<GetEvents>(
    ITEM,
    {
      schema: withProblems({
        summary: 'Every change as it happens, as server-sent events',
        description: DESCRIPTION,
        headers: Type.Object({ 'last-event-id': Type.Optional(LAST_EVENT_ID) }),
        querystring: strict({ after: Type.Optional(REVISION), pool: Type.Optional(LABEL) }),
        response: { 200: { description: 'events', content: { [TYPE]: { schema: Type.String() } } } },
      }),
    },
    (request, reply) => sendEvents(request, reply, { context, callers }),
  )
  refuseOtherMethods(app, ITEM, ['GET', 'HEAD'])
}

interface EventParts {
  readonly context: ApiContext
  readonly callers: EventCallers
}

async function sendEvents(
  request: FastifyRequest<GetEvents>,
  reply: FastifyReply,
  { context, callers }: EventParts,
) {
  const { caller, query, headers } = request
  checkReader(caller, query.pool)
  reply.type(TYPE).header('x-accel-buffering', 'no')
  if (request.method === 'HEAD') return reply.send()
  const after = headers['last-event-id'] || query.after
  const seat = enter(callers, caller, reply)
  const stream = await openStream(context, {
    reader: { caller, pool: query.pool },
    after: after === undefined ? undefined : Number(after),
  }).catch((error: unknown) => {
    seat.leave()
    throw error
  })
  stream.once('close', seat.leave)
  seat.onOver(() => endStream(stream, reply))
  return reply.send(stream)
}

async function openStream(
  context: ApiContext,
  { reader, after }: { readonly reader: Reader; readonly after: number | undefined },
): Promise<EventStream> {
  const feed = await openEventFeed(context, reader, after)
  return new EventStream(feed, { opening: OPENING, keepAliveMs: KEEP_ALIVE_MS })
}

/** @throws RoutingError `api_forbidden` */
function checkReader(caller: Caller, pool: string | undefined): void {
  const isReader = caller.scopes.some(({ verbs }) => verbs.includes('read'))
  if (pool !== undefined || !isReader) checkMay(caller, 'read', pool)
}

/** @throws RoutingError `api_rate_limited` */
function enter(callers: EventCallers, caller: Caller, reply: FastifyReply): Seat {
  try {
    return callers.enter(caller)
  } catch (error) {
    reply.header('retry-after', RETRY_SECONDS)
    throw error
  }
}

/** A client that does not read would keep an orderly end waiting. */
function endStream(stream: EventStream, { raw }: FastifyReply): void {
  if (stream.readableLength > 0 || raw.writableLength > 0) raw.destroy()
  else stream.end()
}
