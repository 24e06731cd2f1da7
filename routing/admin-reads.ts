/** Reading a kind of record through the admin API: one by name with its ETag, or all, a page at a time. */

import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Log } from '../lib/log.ts'
import { parsePageRequest } from './admin-pages.ts'
import { RecordInvalid, RoutingError } from './errors.ts'
import { checkMatch, isUnchanged, parsePreconditions, toEtag } from './preconditions.ts'
import type { Store, StoredDocument } from './store.ts'

export interface Kind {
  /** The member that holds the records in a listing, and the last part of its path. */
  readonly plural: 'routes' | 'vms'
  readonly prefix: string
  /** @throws RecordInvalid */
  readonly toView: (document: StoredDocument) => object
}

export interface ReadDeps {
  readonly store: Store
  readonly log: Log
}

export async function listRecords(request: FastifyRequest, { store, log }: ReadDeps, kind: Kind) {
  const { limit, after } = parsePageRequest(request.query)
  const page = await store.list(kind.prefix, { limit, after: kind.prefix + after })
  const views = page.documents.flatMap((document) => {
    const view = findView(document, kind, log)
    return view === undefined ? [] : [view]
  })
  const next = page.next?.slice(kind.prefix.length)
  return { [kind.plural]: views, ...(next !== undefined && { next }) }
}

/** Honours If-Match and If-None-Match. */
export async function sendRecord(
  reply: FastifyReply,
  document: StoredDocument,
  kind: Kind,
): Promise<FastifyReply> {
  const { key, revision } = document
  const preconditions = parsePreconditions(reply.request.headers)
  checkMatch(preconditions, { key, current: revision })
  reply.header('etag', toEtag(revision))
  if (isUnchanged(preconditions, revision)) return reply.code(304).send()
  return reply.send(getView(document, kind))
}

export function notFound(kind: Kind, name: string): RoutingError {
  return new RoutingError('api_not_found', { detail: `There is no "${name}" among the ${kind.plural}.` })
}

/** A record that breaks a rule must not hide the others of its page. */
function findView(document: StoredDocument, kind: Kind, log: Log): object | undefined {
  try {
    return getView(document, kind)
  } catch (error) {
    log.error({ err: error, key: document.key }, 'a record is left out of a listing')
    return undefined
  }
}

/** What the store holds is not the reader's fault, unlike a body that breaks the same rule. */
function getView(document: StoredDocument, kind: Kind): object {
  try {
    return kind.toView(document)
  } catch (cause) {
    const reason = cause instanceof RecordInvalid ? `${cause.field}: ${cause.message}` : 'It cannot be read.'
    throw new RoutingError('api_record_broken', { cause, detail: `${document.key}${reason}` })
  }
}
