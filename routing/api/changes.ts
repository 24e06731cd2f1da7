/** Changes on request: preconditions, one commit with an audit record for each document changed, and the answer. */

import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { commitPlanned, type Edit, isVoid } from '../edits.ts'
import { type Kind, type Stored, toStored } from '../record-kinds.ts'
import type { Document, Mutation } from '../store.ts'
import type { ApiContext } from './context.ts'
import { checkWrite, parsePreconditions, toEtag } from './preconditions.ts'

/** Fields that an audit record does not repeat. */
const HIDDEN = ['digest']
const TIME_CHARACTERS = 9

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
}

/** Honours If-Match and If-None-Match. @throws RevisionConflict, and what `plan` throws */
export async function changeRecord<Value extends object>(
  request: FastifyRequest,
  context: ApiContext,
  change: RecordChange<Value>,
): Promise<Changed<Value>> {
  const { kind, name, plan, poolOf, toEdits } = change
  const key = kind.prefix + name
  const { plan: done, revisions } = await commitPlanned(
    context.store,
    async () => {
      const document = await context.store.get(key)
      const before = document && toStored(kind, document)
      const planned = await plan(before)
      checkWrite(parsePreconditions(request.headers), { key, current: before?.revision ?? 0 })
      const after = planned && kind.parse(planned)
      const more = (await toEdits?.(after, before)) ?? []
      const edits: Edit[] = [{ key, before: document, after: after && ({ ...after } as Document) }, ...more]
      return { before, after, edits }
    },
    ({ before, after, edits }) => {
      const subject = after ?? before?.record
      return auditsOf(request, context, { edits, pool: subject && poolOf(subject) })
    },
  )
  const { before, after: record } = done
  const revision = revisions.get(key) ?? before?.revision ?? 0
  logChange(request, context, { key, revision })
  return { before, after: record && { key, record, revision } }
}

/** An audit record for each edit that changes something and does not merely follow from another. */
export function auditsOf(
  request: FastifyRequest,
  { now }: ApiContext,
  { edits, pool }: { readonly edits: readonly Edit[]; readonly pool: string | undefined },
): readonly Mutation[] {
  const at = now()
  return edits
    .filter((edit) => !edit.isDerived && !isVoid(edit))
    .map(({ key, before, after }) => {
      const id = `${at.getTime().toString(36).padStart(TIME_CHARACTERS, '0')}-${randomBytes(6).toString('hex')}`
      const value = {
        id,
        at: at.toISOString(),
        who: request.caller.id,
        action: after === undefined ? 'delete' : before === undefined ? 'create' : 'update',
        key,
        ...(pool !== undefined && { pool }),
        ...(before && { before: shown(before.value) }),
        ...(after && { after: shown(after) }),
        requestId: request.id,
      }
      return { key: `audit/${id}`, value, ifRevision: 0 }
    })
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
  { before, after }: Changed<Value>,
  { location, view }: { readonly location: string; readonly view: (stored: Stored<Value>) => object },
): FastifyReply {
  if (after === undefined) return reply.code(204).send()
  if (before === undefined) reply.code(201).header('location', location)
  return reply.header('etag', toEtag(after.revision)).send(view(after))
}

function shown(value: Document): Document {
  return Object.fromEntries(Object.entries(value).filter(([name]) => !HIDDEN.includes(name)))
}
