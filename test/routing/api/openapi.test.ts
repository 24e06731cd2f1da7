/** The OpenAPI document: valid, complete, and true to what the API takes and answers. */

import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { Compile } from 'typebox/compile'
import type { Operation } from '../../../routing/api/openapi-document.ts'
import { apiFor } from './api-client.ts'
import { findOpenApiFaults } from './openapi-rules.ts'

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, object>> }
}

async function loadDocument(t: Parameters<typeof apiFor>[0]): Promise<Document> {
  const { call } = await apiFor(t)
  const { status, headers, json } = await call('GET', '/v1/openapi.json', { token: '' })
  t.match([status, headers['content-type']], [200, /^application\/json/])
  return json as object as Document
}

function operationsOf({ paths }: Document) {
  return Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({ path, method, operation })),
  )
}

function bodyOf(operation: Operation | undefined) {
  const body = operation?.requestBody as
    | { readonly content?: Readonly<Record<string, { readonly schema: object; readonly example?: unknown }>> }
    | undefined
  return body?.content?.['application/json']
}

t.test('is valid OpenAPI 3.1, and every call in it is described', async (t) => {
  t.strictSame(findOpenApiFaults(await loadDocument(t)), [])
})

/** Every address that a source file of the API registers, so that none can be left out. */
function registeredPaths(): readonly string[] {
  const folder = new URL('../../../routing/api/', import.meta.url)
  return readdirSync(folder)
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => [
      ...readFileSync(new URL(file, folder), 'utf8').matchAll(/^const [A-Z_]+ = '(\/[^']*)'$/gm),
    ])
    .map(([, path = '']) => path.replaceAll(/:(\w+)/g, '{$1}'))
}

t.test('has every address that is registered, and no method that is refused', async (t) => {
  const document = await loadDocument(t)
  const { call } = await apiFor(t)
  const known = Object.keys(document.paths)
  for (const path of registeredPaths()) t.ok(known.includes(path), path)
  for (const [path, operations] of Object.entries(document.paths)) {
    const refused = await call('TRACE', path.replaceAll(/\{\w+\}/g, 'x'))
    const allowed = String(refused.headers.allow).toLowerCase().split(', ')
    t.strictSame(Object.keys(operations).sort(), allowed.filter((method) => method !== 'head').sort(), path)
  }
})

t.test('names each call once, in words that stay', async (t) => {
  const names = operationsOf(await loadDocument(t)).map(({ path, method, operation }) => [
    `${method} ${path}`,
    operation.operationId,
  ])
  const expected = {
    'get /': 'getWelcome',
    'get /llms.txt': 'getLlmsTxt',
    'get /v1/whoami': 'getWhoami',
    'get /v1/pools': 'listPools',
    'get /v1/pools/{pool}': 'getPool',
    'put /v1/pools/{pool}': 'putPool',
    'delete /v1/pools/{pool}': 'deletePool',
    'post /v1/tokens': 'createToken',
    'delete /v1/tokens/{id}': 'deleteToken',
  }
  t.match(Object.fromEntries(names), expected)
})

t.test('gives an example of each body, which is one', async (t) => {
  for (const { path, method, operation } of operationsOf(await loadDocument(t))) {
    const json = bodyOf(operation)
    if (json === undefined) continue
    t.ok(json.example, `${method} ${path}`)
    t.strictSame([...Compile(json.schema).Errors(json.example)], [], `${method} ${path}`)
  }
})

interface Example {
  readonly method: string
  readonly path: string
  readonly body: string | undefined
}

/** Every `curl` that calls the admin API in a text, lines that end in a backslash joined. */
function curlsIn(text: string): readonly Example[] {
  const lines = text
    .replaceAll('\\\n', ' ')
    .split('\n')
    .filter((line) => /\bcurl\b/.test(line))
  return lines.flatMap((line) => {
    const path = /(\/v1\/[^\s"'?]*)/.exec(line)?.[1]
    const body = /(?:-d|--data(?:-raw)?) '([^']*)'/.exec(line)?.[1]
    const method = /-X (\w+)/.exec(line)?.[1] ?? (body === undefined ? 'GET' : 'POST')
    return path === undefined ? [] : [{ method, path, body }]
  })
}

t.test('takes what the docs tell readers to send', async (t) => {
  const document = await loadDocument(t)
  const { call } = await apiFor(t)
  const page = (await call('GET', '/')).text.replaceAll('&quot;', '"')
  const folder = new URL('../../../docs/', import.meta.url)
  const docs = readdirSync(folder).filter((file) => file.endsWith('.md'))
  const files = [new URL('../README.md', folder), ...docs.map((file) => new URL(file, folder))]
  const examples = [page, ...files.map((file) => readFileSync(file, 'utf8'))].flatMap(curlsIn)
  t.ok(examples.length >= 1)
  for (const { method, path, body } of examples) {
    const [template] = Object.keys(document.paths).filter((one) =>
      new RegExp(`^${one.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path),
    )
    const operation = document.paths[template ?? '']?.[method.toLowerCase()]
    t.ok(operation, `${method} ${path}`)
    const schema = bodyOf(operation)?.schema
    if (body === undefined || schema === undefined) continue
    t.strictSame([...Compile(schema).Errors(JSON.parse(body))], [], `${method} ${path} ${body}`)
  }
})

t.test('says of each call which problems it can have', async (t) => {
  const { paths } = await loadDocument(t)
  const statuses = (path: string, method: string) =>
    Object.keys(paths[path]?.[method]?.responses ?? {}).join(' ')
  t.equal(statuses('/v1/pools', 'get'), '200 400 401 403 429 default')
  t.equal(statuses('/v1/pools/{pool}', 'get'), '200 304 400 401 403 404 412 429 default')
  t.equal(statuses('/v1/pools/{pool}', 'put'), '200 201 400 401 403 404 409 412 413 415 422 429 default')
  t.equal(statuses('/v1/tokens', 'post'), '201 400 401 403 409 413 415 422 429 default')
  t.equal(statuses('/v1/openapi.json', 'get'), '200 400 default')
  t.strictSame(paths['/']?.get?.security, [])
  t.equal(paths['/v1/pools']?.get?.security, undefined)
})

t.test('describes the problems that are answered', async (t) => {
  const { components } = await loadDocument(t)
  const { call } = await apiFor(t)
  const check = Compile({ ...components.schemas.Problem, additionalProperties: false })
  for (const [method, path, body] of [
    ['GET', '/nothing', undefined],
    ['PUT', '/v1/pools/web', { cpuMillis: 1 }],
    ['POST', '/v1/tokens', 'x'],
    ['GET', '/v1/pools?limit=x', undefined],
  ] as const) {
    const { json } = await call(method, path, { body })
    t.strictSame([...check.Errors(json)], [], `${method} ${path}`)
  }
})

t.test('finds what would be wrong with a document', async (t) => {
  const good = (await loadDocument(t)) as object as Record<string, never>
  const change = (path: string, value: unknown): unknown => {
    const copy = structuredClone(good) as Record<string, unknown>
    const names = path.split('|')
    const last = names.pop() ?? ''
    const place = names.reduce((at, name) => at[name] as Record<string, unknown>, copy)
    if (value === undefined) delete place[last]
    else place[last] = value
    return copy
  }
  const pool = 'paths|/v1/pools/{pool}|get'
  for (const [path, value, expected] of [
    ['openapi', '3.0.0', /openapi/],
    ['info|title', undefined, /title/],
    [`${pool}|operationId`, 'listPools', /twice/],
    [`${pool}|operationId`, undefined, /operationId/],
    [`${pool}|tags`, ['other'], /tag other/],
    [`${pool}|summary`, undefined, /summary/],
    [`${pool}|parameters`, [], /parameter pool/],
    [`${pool}|responses`, {}, /no good answer/],
    [`${pool}|responses|200`, { content: {} }, /description/],
    [`${pool}|responses|404`, { $ref: '#/components/responses/None' }, /None/],
    [`${pool}|responses|2xx`, { description: 'x' }, /2xx/],
    [`${pool}|security`, [{ other: [] }], /scheme other/],
    [`${pool}|responses|200|content|application~1json|schema`, { type: 'map' }, /map/],
  ] as const) {
    const faults = findOpenApiFaults(change(path.replace('~1', '/'), value))
    t.ok(
      faults.some((fault) => expected.test(fault)),
      `${path}: ${faults.join('; ')}`,
    )
  }
})
