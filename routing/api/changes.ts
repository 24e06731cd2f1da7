/** Changes on request: preconditions, one commit with an audit record for each document changed, and the answer. */

import type { FastifyReply, FastifyRequest } from 'fastify'
import { toAudits } from '../records/audits.ts'
import { commitPlanned, type Edit } from '../records/edits.ts'
import type { Kind, Stored } from '../records/record-kinds.ts'
import type { Document, Mutation } from '../store/store.ts'
import { checkMay } from './caller.ts'
import type { ApiContext } from './context.ts'
import type { Answer } from './idempotency.ts'
import { checkWrite, parsePreconditions, toEtag } from './preconditions.ts'
import { findStored, isName, notFound } from './reads.ts'

/** One record to be written or deleted by name. */
export interface RecordChange<Value> {
  readonly kind: Kind<Value>
  readonly name: string
  /** Returns the record as it shall be, undefined to delete. Throws to refuse: here is where the caller's rights are checked. */
  readonly plan: (before: Stored<Value> | undefined) => Promise<Value | undefined> | Value | undefined
  /** For the audit record. */
  readonly poolOf: (record: Value) => string | undefined
  /** More edits of the same commit. */
  readonly toEdits?: (after: Value | undefined, before: Stored<Value> | undefined) => Promise<readonly Edit[]>
}

export interface Changed<Value> {
  readonly before: Stored<Value> | undefined
  readonly after: Stored<Value> | undefined
  /** False also when what was there could not be read. */
  readonly isNew: boolean
}

/**
 * Honours If-Match and If-None-Match. A record that breaks a rule of its kind is as good as none, and only for who
 * may do everything. @throws RevisionConflict, and what `plan` throws
 */
export async function changeRecord<Value extends object>(
  request: FastifyRequest,
  context: ApiContext,
  change: RecordChange<Value>,
): Promise<Changed<Value>> {
  const { kind, name, poolOf } = change
  if (!isName(name)) throw notFound(kind, name)
  const key = kind.prefix + name
  const { plan: done, revisions } = await commitPlanned(
    context.store,
    () => planChange(request, context, { ...change, key }),
    ({ before, after, edits }) => {
      const subject = after ?? before?.record
      return auditsOf(request, context, { edits, pool: subject && poolOf(subject) })
    },
  )
  const { before, after: record, isNew } = done
  const revision = revisions.get(key) ?? before?.revision ?? 0
  if (revisions.size > 0) logChange(request, context, { key, revision })
  return { before, after: record && { key, record, revision }, isNew }
}

async function planChange<Value extends object>(
  request: FastifyRequest,
  { store, log }: ApiContext,
  { kind, key, plan, toEdits }: RecordChange<Value> & { readonly key: string },
) {
  const document = await store.get(key)
  const before = document && findStored(kind, document, log)
  const isBroken = document !== undefined && before === undefined
  // It names no pool that could be believed.
  if (isBroken) checkMay(request.caller, 'admin', undefined)
  const planned = isBroken && request.method === 'DELETE' ? undefined : await plan(before)
  checkWrite(parsePreconditions(request.headers), { key, current: document?.revision ?? 0 })
  const after = planned && kind.parse(planned)
  const more = (await toEdits?.(after, before)) ?? []
  const edits: Edit[] = [{ key, before: document, after: after && ({ ...after } as Document) }, ...more]
  return { before, after, edits, isNew: document === undefined }
}

/** As `toAudits` says, with the request as the cause. */
export function auditsOf(
  request: FastifyRequest,
  { now }: ApiContext,
  { edits, pool }: { readonly edits: readonly Edit[]; readonly pool: string | undefined },
): readonly Mutation[] {
  return toAudits(edits, { at: now(), who: request.caller.id, pool, requestId: request.id })
}

export function logChange(
  request: FastifyRequest,
  { log }: ApiContext,
  fields: Record<string, unknown>,
): void {
  log.info({ ...fields, who: request.caller.id, requestId: request.id }, 'the admin API changed a record')
}

/** 201 with Location for what is new, else 200; the ETag either way. */
export function sendChanged<Value>(
  reply: FastifyReply,
  { after, isNew }: Changed<Value>,
  { location, view }: { readonly location: string; readonly view: (stored: Stored<Value>) => object },
): FastifyReply {
  if (after === undefined) return reply.code(204).send()
  if (isNew) reply.code(201).header('location', location)
  return reply.header('etag', toEtag(after.revision)).send(view(after))
}

/** The same for `answerOnce`. @throws TypeError when the record was deleted */
export function answerChanged<Value>(
  { after, isNew }: Changed<Value>,
  {
    location,
    view,
    headers,
  }: {
    readonly location: string
    readonly view: (stored: Stored<Value>) => object
    readonly headers?: Answer['headers']
  },
): Answer {
  if (after === undefined) throw new TypeError('there is no record to answer with')
  const etag = toEtag(after.revision)
  return isNew
    ? { status: 201, body: view(after), headers: { ...headers, etag, location } }
    : { status: 200, body: view(after), headers: { ...headers, etag } }
}
