/** Schemas that the resources of the admin API share, and how Fastify is made to check them. */

import type { FastifySchema, FastifySchemaCompiler } from 'fastify'
import { type TObject, type TProperties, type TSchema, Type } from 'typebox'
import { RecordInvalid, RoutingError } from '../errors.ts'
import { COUNT, createBodyParser, createOpenParser } from '../records/schema.ts'

const MAX_LIMIT = 1_000

export interface PageQuery {
  readonly limit?: number
  readonly after?: string
}

const PAGE_FIELDS = {
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: MAX_LIMIT, description: `a whole number from 1 to ${MAX_LIMIT}` }),
  ),
  after: Type.Optional(
    Type.String({ maxLength: 1_024, description: 'given once; "next" of the page before' }),
  ),
}

/** `?limit&after`, and whatever else a listing can be asked for. */
export function pageQuery<Fields extends TProperties>(fields: Fields) {
  return strict({ ...PAGE_FIELDS, ...fields })
}

/** A body: fields that it does not name are refused. Give OpenAPI an example. */
export function strict<Fields extends TProperties>(
  fields: Fields,
  { examples }: { readonly examples?: readonly object[] } = {},
) {
  const shown = examples && { examples: [...examples] }
  return Type.Object(fields, { additionalProperties: false, description: 'a JSON object', ...shown })
}

/** A record as the API shows it: its fields and its revision, and what the resource adds. */
export function viewOf<Fields extends TProperties>(record: TObject, more: Fields) {
  return Type.Object({ ...record.properties, ...more, revision: COUNT })
}

/** What OpenAPI says of a listing. */
export function listingOf(plural: string, view: TSchema) {
  return Type.Object({ [plural]: Type.Array(view), next: Type.Optional(Type.String()) })
}

export const NOTHING = Type.Null({ description: 'nothing' })

export const PROBLEM = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.Optional(Type.String()),
    code: Type.String(),
    next: Type.String(),
    retryable: Type.Boolean(),
    field: Type.Optional(Type.String()),
    requestId: Type.Optional(Type.String()),
  },
  { description: 'What went wrong (RFC 9457), and in "next" what to do about it' },
)

/** Completes a route's schema for OpenAPI: each answer that is not the good one is a problem. */
export function withProblems(schema: FastifySchema): FastifySchema {
  const responses = (schema.response ?? {}) as Record<string, unknown>
  return { ...schema, response: { ...responses, default: PROBLEM } }
}

/** Checks bodies, queries and path parameters with the parsers that records are checked with. */
export const compileValidator: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  const parse = httpPart === 'headers' ? createOpenParser(schema) : createBodyParser(schema)
  const isQuery = httpPart !== 'body' && httpPart !== 'params'
  return (value: unknown) => {
    try {
      return { value: parse(httpPart === 'body' ? value : numbered(schema, value)) }
    } catch (error) {
      return { error: isQuery ? toMalformed(error) : (error as Error) }
    }
  }
}

/** A query is texts only, and a path is: those that the schema wants as numbers are made so. */
function numbered(schema: TSchema, value: unknown): unknown {
  const { properties = {} } = schema as { properties?: Record<string, { type?: string }> }
  const entries = Object.entries(Object(value)).map(([name, text]) => {
    const isNumber =
      properties[name]?.type === 'integer' && typeof text === 'string' && /^(0|[1-9]\d{0,14})$/.test(text)
    return [name, isNumber ? Number(text) : text]
  })
  return Object.fromEntries(entries)
}

function toMalformed(error: unknown): Error {
  if (!(error instanceof RecordInvalid)) return error as Error
  const name = error.field.slice(1)
  return new RoutingError('api_request_malformed', { detail: `"${name}": ${error.message}`, cause: error })
}
