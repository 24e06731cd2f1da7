/** The rules of OpenAPI 3.1 that a generated document could break, and those that this project adds: all is described. */

type Json = Readonly<Record<string, unknown>>

const METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace']
const TYPES = ['string', 'number', 'integer', 'boolean', 'object', 'array', 'null']
const PLACES = ['query', 'header', 'path', 'cookie']

/** One sentence for each fault. Rules: spec.openapis.org/oas/v3.1.1, sections 4.8 and JSON Schema 2020-12. */
export function findOpenApiFaults(given: unknown): readonly string[] {
  const document = asObject(given)
  const { openapi, info, paths, tags = [] } = document
  const known = (Array.isArray(tags) ? tags : []).map((tag) => String(asObject(tag).name))
  const operations = Object.entries(asObject(paths)).flatMap(([path, item]) =>
    Object.entries(asObject(item)).map(([method, operation]) => ({
      path,
      method,
      operation: asObject(operation),
    })),
  )
  return [
    ...unless(/^3\.1\.\d+$/.test(String(openapi)), 'openapi must be 3.1.x'),
    ...['title', 'version'].flatMap((name) => unless(asObject(info)[name], `info lacks ${name}`)),
    ...findDoubles(operations.map(({ operation }) => String(operation.operationId))),
    ...findDoubles(Object.keys(asObject(paths)).map((path) => path.replaceAll(/\{\w+\}/g, '{}'))),
    ...operations.flatMap((place) => findOperationFaults(document, { ...place, tags: known })),
    ...findReferenceFaults(document),
    ...findSchemaFaults(document, '#'),
  ]
}

interface Place {
  readonly path: string
  readonly method: string
  readonly operation: Json
  readonly tags: readonly string[]
}

function findOperationFaults(document: Json, { path, method, operation, tags }: Place): readonly string[] {
  const { operationId, summary, responses, security = [] } = operation
  const name = `${method} ${path}`
  const schemes = Object.keys(asObject(asObject(document.components).securitySchemes))
  const used = (security as Json[]).flatMap((one) => Object.keys(one))
  const good = Object.keys(asObject(responses)).filter((status) => /^[23]\d\d$/.test(status))
  return [
    ...unless(METHODS.includes(method), `${name}: ${method} is no method`),
    ...unless(path.startsWith('/'), `${name}: a path begins with /`),
    ...unless(/^[A-Za-z]\w*$/.test(String(operationId)) && operationId, `${name}: lacks an operationId`),
    ...unless(summary, `${name}: lacks a summary`),
    ...(asArray(operation.tags).length === 1 ? [] : [`${name}: must have one tag`]),
    ...asArray(operation.tags).flatMap((tag) =>
      unless(tags.includes(String(tag)), `${name}: the tag ${tag} is unknown`),
    ),
    ...used.flatMap((scheme) => unless(schemes.includes(scheme), `${name}: the scheme ${scheme} is unknown`)),
    ...unless(good.length > 0, `${name}: has no good answer`),
    ...Object.entries(asObject(responses)).flatMap(([status, answer]) =>
      findAnswerFaults(`${name} ${status}`, status, resolve(document, answer)),
    ),
    ...findParameterFaults(document, { path, name, operation }),
  ]
}

function findAnswerFaults(name: string, status: string, { description, content }: Json): readonly string[] {
  return [
    ...unless(/^([1-5]\d\d|default)$/.test(status), `${name}: ${status} is no status`),
    ...unless(description && description !== 'Default Response', `${name}: lacks a description`),
    ...unless(content || /^(204|304)$/.test(status), `${name}: does not say what it holds`),
    ...Object.entries(asObject(content)).flatMap(([type, media]) => [
      ...unless(/^[a-z]+\/[a-z0-9.+-]+$/.test(type), `${name}: ${type} is no media type`),
      ...unless(asObject(media).schema, `${name}: ${type} lacks a schema`),
    ]),
  ]
}

function findParameterFaults(
  document: Json,
  { path, name, operation }: { readonly path: string; readonly name: string; readonly operation: Json },
): readonly string[] {
  const parameters = asArray(operation.parameters).map((parameter) => resolve(document, parameter))
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter)
  const given = parameters.filter((parameter) => parameter.in === 'path').map((parameter) => parameter.name)
  return [
    ...inPath.flatMap((one) => unless(given.includes(one), `${name}: lacks the parameter ${one}`)),
    ...given.flatMap((one) => unless(inPath.includes(String(one)), `${name}: ${one} is not in the path`)),
    ...findDoubles(parameters.map((one) => `${name} ${one.in} ${one.name}`)),
    ...parameters.flatMap((one) => [
      ...unless(PLACES.includes(String(one.in)), `${name}: ${one.name} is in ${one.in}`),
      ...unless(one.schema ?? one.content, `${name}: ${one.name} lacks a schema`),
      ...unless(one.description, `${name}: ${one.name} lacks a description`),
      ...unless(one.in !== 'path' || one.required === true, `${name}: ${one.name} must be required`),
    ]),
  ]
}

function findReferenceFaults(document: Json): readonly string[] {
  return [...JSON.stringify(document).matchAll(/"\$ref":"([^"]*)"/g)].flatMap(([, pointer = '']) =>
    unless(find(document, pointer), `${pointer} leads nowhere`),
  )
}

/** Looks at everything under a member called "schema", and at the schemas of the components. */
function findSchemaFaults(value: unknown, at: string): readonly string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, member]) => {
    const place = `${at}/${name}`
    const isSchema = name === 'schema' || at === '#/components/schemas'
    return isSchema ? findFaultsInSchema(member, place) : findSchemaFaults(member, place)
  })
}

function findFaultsInSchema(given: unknown, at: string): readonly string[] {
  const schema = asObject(given)
  const { type, properties, items, required = [], anyOf = [], patternProperties } = schema
  const types = type === undefined ? [] : [type].flat()
  const inner = { ...asObject(properties), ...asObject(patternProperties) }
  return [
    ...unless(typeof given === 'object', `${at} is no schema`),
    ...types.flatMap((one) => unless(TYPES.includes(String(one)), `${at}: ${one} is no type`)),
    ...asArray(required).flatMap((one) =>
      unless(String(one) in asObject(properties), `${at}: requires ${one}, which it does not describe`),
    ),
    ...Object.entries(inner).flatMap(([name, one]) => findFaultsInSchema(one, `${at}/${name}`)),
    ...(items === undefined ? [] : findFaultsInSchema(items, `${at}/items`)),
    ...asArray(anyOf).flatMap((one, index) => findFaultsInSchema(one, `${at}/${index}`)),
  ]
}

function find(document: Json, pointer: string): unknown {
  const names = pointer.split('/').slice(1)
  return names.reduce<unknown>(
    (at, name) => asObject(at)[name.replaceAll('~1', '/').replaceAll('~0', '~')],
    document,
  )
}

function resolve(document: Json, value: unknown): Json {
  const { $ref } = asObject(value)
  return typeof $ref === 'string' ? asObject(find(document, $ref)) : asObject(value)
}

function findDoubles(names: readonly string[]): readonly string[] {
  return names.filter((name, index) => names.indexOf(name) !== index).map((name) => `${name} is there twice`)
}

function asObject(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {}
}

function asArray(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function unless(holds: unknown, fault: string): readonly string[] {
  return holds ? [] : [fault]
}
