/** Reading records through the admin API: one by name with its ETag, or many, a page at a time. */

import type { FastifyReply, FastifyRequest } from 'fastify'
import { RoutingError } from '../errors.ts'
import { type Kind, type Stored, toStored } from '../records/record-kinds.ts'
import type { StoredDocument } from '../store/store.ts'
import type { ApiContext } from './context.ts'
import { checkMatch, isUnchanged, parsePreconditions, toEtag } from './preconditions.ts'
import type { PageQuery } from './schemas.ts'

const DEFAULT_LIMIT = 100
/** A key has at most 1,024 characters, its kind's prefix included. */
const MAX_NAME = 1_000

export interface Listing<Value> {
  readonly kind: Kind<Value>
  /** The member that holds the records. */
  readonly plural: string
  /** What follows the kind's prefix in every key of the listing. */
  readonly below?: string
  readonly view: (stored: Stored<Value>) => object | Promise<object>
  /** What the caller may not see, or did not ask for, is left out; a page may then be shorter than its limit. */
  readonly isShown: (record: Value) => boolean
}

/** `{ [plural]: views, next? }`; give `next` as `after` to read on. */
export async function listPage<Value>(
  request: FastifyRequest,
  { store, log }: ApiContext,
  { kind, plural, below = '', view, isShown }: Listing<Value>,
): Promise<object> {
  const prefix = kind.prefix + below
  const { limit = DEFAULT_LIMIT, after = '' } = request.query as PageQuery
  const page = await store.list(prefix, { limit, after: prefix + after })
  const found = page.documents.flatMap((document) => findStored(kind, document, log) ?? [])
  const views = await Promise.all(
    found.filter(({ record }) => isShown(record)).map(async (stored) => view(stored)),
  )
  const next = page.next?.slice(prefix.length)
  return { [plural]: views, ...(next !== undefined && { next }) }
}

/** Honours If-Match and If-None-Match. */
export async function sendStored<Value>(
  reply: FastifyReply,
  stored: Stored<Value>,
  view: (stored: Stored<Value>) => object | Promise<object>,
): Promise<FastifyReply> {
  const { key, revision } = stored
  const preconditions = parsePreconditions(reply.request.headers)
  checkMatch(preconditions, { key, current: revision })
  reply.header('etag', toEtag(revision))
  if (isUnchanged(preconditions, revision)) return reply.code(304).send()
  return reply.send(await view(stored))
}

/** @throws RoutingError `api_not_found`, `api_record_broken` */
export async function getStored<Value>(
  { store }: ApiContext,
  kind: Kind<Value>,
  name: string,
): Promise<Stored<Value>> {
  const document = isName(name) ? await store.get(kind.prefix + name) : undefined
  if (document === undefined) throw notFound(kind, name)
  return toStored(kind, document)
}

export function notFound(kind: Pick<Kind<unknown>, 'prefix'>, name: string): RoutingError {
  const what = kind.prefix.slice(0, -1)
  return new RoutingError('api_not_found', { detail: `There is no ${what} "${name}".` })
}

/** What may follow a kind's prefix; what of it is a name is the kind's own affair. */
export function isName(text: string): boolean {
  return text !== '' && text.length <= MAX_NAME && text.isWellFormed() && !text.includes('\0')
}

/** Undefined when the record breaks a rule of its kind: it must not hide others, nor stand in the way of its repair. */
export function findStored<Value>(
  kind: Kind<Value>,
  document: StoredDocument,
  log: ApiContext['log'],
): Stored<Value> | undefined {
  try {
    return toStored(kind, document)
  } catch (error) {
    log.error({ err: error, key: document.key }, 'the admin API met a record that it cannot read')
    return undefined
  }
}
