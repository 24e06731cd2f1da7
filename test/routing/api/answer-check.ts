/** Checks what the admin API answers against what its own OpenAPI document says of it. */

import { Compile } from 'typebox/compile'

/** As much of OpenAPI as is read here. */
export interface ApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components?: { readonly schemas?: Readonly<Record<string, JsonSchema>> }
}

export interface Operation {
  readonly responses: Readonly<Record<string, Described>>
}

interface Described {
  readonly content?: Readonly<Record<string, { readonly schema?: JsonSchema }>>
}

export type JsonSchema = Readonly<Record<string, unknown>>

export interface Answered {
  readonly method: string
  readonly path: string
  readonly status: number | undefined
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
}

export type AnswerCheck = (answered: Answered) => Promise<void>

/** Throws when an answer 2xx in JSON does not fit, or has a field that the document does not name. */
export function createAnswerCheck(load: () => Promise<ApiDocument>): AnswerCheck {
  const compiled = new Map<string, ReturnType<typeof Compile>>()
  let document: Promise<ApiDocument> | undefined
  return async ({ method, path, status = 0, headers, text }) => {
    const isJson = /^application\/json/.test(String(headers['content-type']))
    const isGood = status >= 200 && status < 300 && method !== 'HEAD'
    const [pathname = ''] = path.split('?')
    if (!isJson || !isGood || pathname === '/v1/openapi.json') return
    document ??= load()
    const name = `${method} ${pathname} ${status}`
    const { place, schema } = findSchema(await document, { method, pathname, status })
    if (schema === undefined) throw new Error(`OpenAPI does not know the answer ${name}`)
    const check = compiled.get(place) ?? Compile(closed(schema))
    compiled.set(place, check)
    const [failure] = check.Errors(JSON.parse(text))
    if (failure === undefined) return
    const { instancePath, message, params } = failure
    throw new Error(`${name}: ${instancePath || '/'} ${message} ${JSON.stringify(params)} in ${text}`)
  }
}

function findSchema(
  { paths }: ApiDocument,
  {
    method,
    pathname,
    status,
  }: { readonly method: string; readonly pathname: string; readonly status: number },
): { readonly place: string; readonly schema: JsonSchema | undefined } {
  const fits = Object.keys(paths).filter((template) => isInstance(template, pathname))
  // A literal path goes before one with a parameter.
  const [best = ''] = fits.sort((one, other) => countParameters(one) - countParameters(other))
  const response = paths[best]?.[method.toLowerCase()]?.responses[status]
  return {
    place: `${method} ${best} ${status}`,
    schema: response?.content?.['application/json']?.schema,
  }
}

function isInstance(template: string, pathname: string): boolean {
  const [wanted, given] = [template.split('/'), pathname.split('/')]
  return (
    wanted.length === given.length &&
    wanted.every((part, index) => part === given[index] || /^\{.*\}$/.test(part))
  )
}

function countParameters(template: string): number {
  return template.split('{').length
}

/** The schema with every object closed: a field that no schema names is one that should not be shown. */
function closed(schema: JsonSchema): JsonSchema {
  const inner = Object.fromEntries(
    Object.entries(schema).map(([name, value]) => [name, closedPart(name, value)]),
  )
  const isOpen = 'properties' in schema && Object.keys(Object(schema.properties)).length > 0
  return isOpen && !('additionalProperties' in schema) ? { ...inner, additionalProperties: false } : inner
}

function closedPart(name: string, value: unknown): unknown {
  if (name === 'properties' || name === 'patternProperties') {
    return Object.fromEntries(
      Object.entries(Object(value)).map(([key, one]) => [key, closed(one as JsonSchema)]),
    )
  }
  if (name === 'items' && !Array.isArray(value)) return closed(value as JsonSchema)
  if (name === 'anyOf' || name === 'oneOf') return (value as JsonSchema[]).map(closed)
  return value
}
