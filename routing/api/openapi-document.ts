/** Completes the OpenAPI document with what holds for all resources alike: names, tags, preconditions and problems. */

import { FAULTS } from '../errors.ts'
import { PROBLEM_TYPE } from './problems.ts'
import { PROBLEM } from './schemas.ts'

type Json = Readonly<Record<string, unknown>>

export interface ApiDocument {
  readonly openapi: string
  readonly components?: Json
  readonly paths?: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

export interface Operation {
  readonly operationId?: string
  readonly summary?: string
  readonly tags?: readonly string[]
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: Json
  readonly responses?: Readonly<Record<string, Json>>
  readonly security?: readonly Json[]
}

interface Parameter {
  readonly name: string
  readonly in: string
  readonly description?: string
}

interface Place {
  readonly method: string
  readonly path: string
}

const TAGS: Readonly<Record<string, string>> = {
  pages: 'Open to everybody: what this is, for people and programs',
  whoami: 'Who the token stands for',
  pools: 'What is bought: CPU, memory and disk, and what was used of them',
  vms: 'Virtual machines, their ports, and who may reach them: grants, tokens for programs, share links',
  routes: 'Host names of the platform that lead to a VM or to an address',
  domains: "Customers' own host names, proven before traffic flows",
  certificates: 'Certificates of host names: ordered, or uploaded',
  tokens: 'Who may call this API',
  keys: 'Public SSH keys',
  sessions: 'Who is logged in',
  users: 'What lets a user in',
  hosts: 'Machines that run VMs',
  edges: 'Processes that serve host names',
  audit: 'Who changed what',
  events: 'Changes as they happen (server-sent events)',
  status: 'How the platform is',
  table: 'What edges read',
}

const PATH_PARAMETERS: Readonly<Record<string, string>> = {
  pool: "the pool's name, one DNS label in lower case",
  vm: "the VM's name, one DNS label in lower case",
  port: 'a port of the VM, from 1 to 65535',
  hostname: 'a host name in any form; it is stored in lower case and A-labels, without a final dot',
  name: 'its name',
  user: "the user's id, percent-encoded",
  id: 'its id',
}

const HEADERS = {
  IfMatch: {
    name: 'If-Match',
    in: 'header',
    required: false,
    description: 'ETags: carried out only when one of them is the current one (RFC 9110 section 13.1.1)',
    schema: { type: 'string' },
  },
  IfNoneMatch: {
    name: 'If-None-Match',
    in: 'header',
    required: false,
    description: '"*": carried out only when there is nothing yet. GET: 304 when an ETag is the current one',
    schema: { type: 'string' },
  },
  IdempotencyKey: {
    name: 'Idempotency-Key',
    in: 'header',
    required: false,
    description: 'The same request with the same key has one effect and one answer, for 24 hours',
    schema: { type: 'string', minLength: 1, maxLength: 255 },
  },
}

const GOOD: Readonly<Record<string, string>> = {
  200: 'What there is now',
  201: 'It was made; Location says where it is',
  202: 'It was begun',
  204: 'Done; there is nothing to tell',
}
const ETAG = { ETag: { description: 'The revision, for If-Match', schema: { type: 'string' } } }
const LOCATION = { Location: { description: 'The address of what was made', schema: { type: 'string' } } }
const METHODS: Readonly<Record<string, string>> = { put: 'put', delete: 'delete', patch: 'patch' }
const PROBLEM_STATUSES = [400, 401, 403, 404, 409, 412, 413, 415, 422, 429]

/** `made` is what the routes' schemas say. */
export function completeDocument(made: ApiDocument): ApiDocument {
  const { paths = {}, components, ...rest } = toStandardFormats(made) as ApiDocument
  const completed = Object.entries(paths).map(([path, operations]) => [
    path,
    Object.fromEntries(
      Object.entries(operations).map(([method, operation]) => [
        method,
        completeOperation(operation, { method, path }),
      ]),
    ),
  ])
  const names = [...new Set(Object.keys(paths).map(tagOf))].sort()
  return {
    ...rest,
    tags: names.map((name) => ({ name, description: TAGS[name] ?? name })),
    components: { ...components, schemas: { Problem: PROBLEM }, parameters: HEADERS, responses: problems() },
    paths: Object.fromEntries(completed),
  } as ApiDocument
}

function completeOperation(operation: Operation, place: Place): Operation {
  const { parameters = [], responses = {} } = operation
  return {
    operationId: nameOf(place, Object.keys(responses)),
    tags: [tagOf(place.path)],
    ...operation,
    parameters: [...parameters.map(described), ...headersOf(place)] as Parameter[],
    responses: { ...completeAnswers(responses, place), ...problemsOf(operation, place) },
  }
}

/** `listPools`, `getPoolUsage`, `createToken`, `putVmPort`: a segment before a parameter is in the singular. */
function nameOf({ method, path }: Place, statuses: readonly string[]): string {
  const segments = path.split('/').filter((segment) => segment !== '' && segment !== 'v1')
  const isMaking = method === 'post' && statuses.includes('201')
  const words = segments.flatMap((segment, index) => {
    if (segment.startsWith('{')) return []
    const isOne = segments[index + 1]?.startsWith('{') || (isMaking && index === segments.length - 1)
    return isOne ? [toSingular(segment)] : [segment]
  })
  const verb = isMaking
    ? 'create'
    : (METHODS[method] ?? (isListing(path) && method === 'get' ? 'list' : method))
  return verb + (words.length === 0 ? 'Welcome' : words.map(toCamel).join(''))
}

function isListing(path: string): boolean {
  return /[^s]s$/.test(path) && path !== '/v1/status'
}

function toSingular(word: string): string {
  return word.replace(/s$/, '')
}

function toCamel(word: string): string {
  const parts = word.split(/[^A-Za-z0-9]+/)
  return parts.map((part) => part.slice(0, 1).toUpperCase() + part.slice(1)).join('')
}

function tagOf(path: string): string {
  const [, first = '', second = ''] = path.split('/')
  return first === 'v1' && Object.hasOwn(TAGS, second) ? second : 'pages'
}

function described(parameter: Parameter): Parameter {
  const description = parameter.in === 'path' ? PATH_PARAMETERS[parameter.name] : parameter.description
  return description === undefined ? parameter : { ...parameter, description }
}

function headersOf({ method, path }: Place): readonly object[] {
  const names = method === 'post' ? ['IdempotencyKey'] : isItem(path) ? ['IfMatch', 'IfNoneMatch'] : []
  return names.map((name) => ({ $ref: `#/components/parameters/${name}` }))
}

/** A record with an ETag of its own. What is told of a certificate is more than one record. */
function isItem(path: string): boolean {
  return path.endsWith('}') && tagOf(path) !== 'certificates'
}

function completeAnswers(responses: Readonly<Record<string, Json>>, { method, path }: Place) {
  const good = Object.entries(responses).filter(([status]) => /^2/.test(status))
  const completed = good.map(([status, answer]) => {
    const hasEtag = (isItem(path) || status === '201') && method !== 'delete'
    const headers = { ...(hasEtag && ETAG), ...(status === '201' && LOCATION) }
    const isNamed = answer.description !== 'Default Response' && answer.description !== 'nothing'
    const description = isNamed ? answer.description : (GOOD[status] ?? 'Done')
    return [status, { ...answer, description, ...(Object.keys(headers).length > 0 && { headers }) }]
  })
  const unchanged = method === 'get' &&
    isItem(path) && { 304: { description: 'Its ETag is in If-None-Match' } }
  return { ...Object.fromEntries(completed), ...unchanged }
}

function problemsOf({ security, requestBody }: Operation, { method, path }: Place): Record<string, object> {
  const isOpen = security?.length === 0
  const isWrite = method !== 'get'
  const statuses = [
    400,
    ...(isOpen ? [] : [401, 403, 429]),
    ...(path.includes('{') ? [404] : []),
    ...(isWrite ? [409] : []),
    ...(isItem(path) ? [412] : []),
    ...(requestBody ? [413, 415] : []),
    ...(isWrite ? [422] : []),
  ]
  const named = statuses.map((status) => [status, { $ref: `#/components/responses/Problem${status}` }])
  return { ...Object.fromEntries(named), default: { $ref: '#/components/responses/Problem' } }
}

/** Each says which codes it can have. */
function problems(): Record<string, object> {
  const content = { [PROBLEM_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } } }
  const known = PROBLEM_STATUSES.map((status) => {
    const codes = Object.entries(FAULTS).filter(([, fault]) => fault.status === status)
    const description = codes.map(([code, { title }]) => `\`${code}\`: ${title}.`).join(' ')
    return [`Problem${status}`, { description, content }]
  })
  const description = 'Every other problem; its "code" says which, and "next" what to do'
  return { ...Object.fromEntries(known), Problem: { description, content } }
}

/** Our own formats mean nothing to other readers. */
function toStandardFormats(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(toStandardFormats)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([name, member]) => [
    name,
    name === 'format' && member === 'instant' ? 'date-time' : toStandardFormats(member),
  ])
  return Object.fromEntries(entries)
}
