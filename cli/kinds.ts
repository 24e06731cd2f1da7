/** The kinds of values that commands take. */

import type { Kind, NameList } from './command.ts'
import { findCpuMillis, findDurationMs, findInstant, findSize } from './units.ts'

export interface Scope {
  readonly pool: string
  readonly verbs: readonly string[]
}

export interface Grantee {
  readonly kind: string
  readonly value: string
}

const VERBS = ['read', 'write', 'share', 'admin']
const GRANTEE_KINDS = ['user', 'email', 'domain', 'token', 'vm']
const MAX_WAIT_MS = 3_600_000
const MIN_SUSPEND_SECONDS = 5
const MAX_SUSPEND_SECONDS = 31_536_000
const MAX_TOKEN_CHARACTERS = 4_096
const MAX_CONTEXT_CHARACTERS = 1_024
const VISIBLE_ASCII = /^[\x21-\x7e]+$/

export const POOL = nameOf('POOL', 'pools')
export const VM = nameOf('VM', 'vms')
export const ROUTE = nameOf('HOSTNAME', 'routes')
export const DOMAIN = nameOf('HOSTNAME', 'domains')
export const TOKEN_ID = nameOf('ID', 'tokens')
export const KEY_ID = nameOf('ID', 'keys')
export const SESSION_ID = nameOf('ID', 'sessions')
export const HOST = nameOf('HOST', 'hosts')
export const EDGE = nameOf('EDGE', 'edges')
export const ID = nameOf('ID')
export const SNAPSHOT = nameOf('SNAPSHOT')
export const NEW_NAME = nameOf('NAME')
export const HOSTNAME = nameOf('HOSTNAME')

/** It may be empty. */
export const TEXT: Kind<string> = { ...textOf('TEXT'), find: (text) => text }
export const IMAGE = textOf('IMAGE')
export const USER = textOf('USER')
export const REFERENCE = textOf('REFERENCE')
export const WORD = textOf('COMMAND')
export const ADDRESS = textOf('ADDRESS:PORT')
export const FILE: Kind<string> = { ...textOf('FILE'), isFile: true }

export const SIZE = kindOf('SIZE', findSize, 'a size such as 512M, 8G or 1.5T')
export const CPUS = kindOf('CPUS', findCpuMillis, 'a number of CPUs such as 2, 1.5 or 500m')
export const PORT = kindOf('PORT', (text) => findWhole(text, 1, 65_535), 'a whole number from 1 to 65535')
export const COUNT = kindOf('COUNT', (text) => findWhole(text, 1, 1e9), 'a whole number from 1 up')
export const VM_CPUS = kindOf('CPUS', (text) => findWhole(text, 1, 64), 'a whole number of CPUs from 1 to 64')
export const WEIGHT = kindOf('WEIGHT', (text) => findWhole(text, 1, 10_000), 'a whole number from 1 to 10000')
/** Seconds; 0 for never. */
export const IDLE = kindOf('TIME', findIdleSeconds, 'a time from 5s to 365d such as 10m, or never')
/** Milliseconds. */
export const WAIT = kindOf(
  'TIME',
  (text) => atMost(findDurationMs(text) ?? bareSeconds(text), MAX_WAIT_MS),
  'a time such as 90s or 5m, at most an hour',
)
/** A moment to come, in ISO 8601. */
export const EXPIRY = kindOf(
  'TIME',
  (text) => findInstant(text, new Date(), 1),
  'a time such as 12h or 7d, or a moment such as 2026-01-31T12:00:00Z',
)
/** A moment that has been, in ISO 8601. */
export const SINCE = kindOf(
  'TIME',
  (text) => findInstant(text, new Date(), -1),
  'a time ago such as 12h or 7d, or a moment such as 2026-01-31T12:00:00Z',
)
export const SCOPE = kindOf(
  'POOL:VERBS',
  findScope,
  `a pool (or "*") and verbs, as web:read,write; the verbs are ${VERBS.join(', ')}`,
)
export const GRANTEE = kindOf(
  'WHOM',
  findGrantee,
  'an e-mail address (ann@example.org), a domain of addresses (@example.org), or user:ID, token:ID, vm:NAME',
)
/** The API asks the same of them. */
export const METHOD = kindOf('METHOD', findMethod, 'a method such as GET')
export const PATH_PREFIX = kindOf(
  'PATH',
  findPathPrefix,
  'a path that starts with a slash, without escapes and empty or dot segments',
)
export const CTX = kindOf('TEXT', findContext, 'a text of up to 1024 characters, without control characters')
export const THUMBPRINT = kindOf(
  'THUMBPRINT',
  (text) => (/^[A-Za-z0-9_-]{43}$/.test(text) ? text : undefined),
  'a SHA-256 thumbprint in base64url (43 characters)',
)
/** The one host name that a token is for, in lower case. */
export const AUDIENCE = kindOf(
  'HOST',
  findAudience,
  'a host name such as web.example.test, or a URL; the name of a VM alone is none',
)
export const API_URL = kindOf('URL', findApiUrl, 'an address such as https://admin.example.test')
export const SHELL = choiceOf('SHELL', ['bash', 'zsh', 'fish'])
export const IMAGE_KIND = choiceOf('KIND', ['hello', 'small', 'debian'])
export const EGRESS = choiceOf('EGRESS', ['open', 'none'])
export const AUTHORIZATION = choiceOf('WHO', ['app', 'edge'])
export const ROLE = choiceOf('ROLE', ['viewer', 'root'])
export const CERTIFICATE_ACTION = choiceOf('ACTION', ['show', 'upload', 'remove', 'renew'])

/** Sent as `Authorization: Bearer`, so it has to be printable and without spaces. A JWT is longer than the API's own. */
export function isTokenText(text: string): boolean {
  return VISIBLE_ASCII.test(text) && text.length <= MAX_TOKEN_CHARACTERS
}

/** True for a JWT: it is for one host name. The API's own tokens and the bootstrap token have no dots. */
export function isJwt(token: string): boolean {
  return token.split('.').length === 3
}

export function choiceOf(placeholder: string, choices: readonly string[]): Kind<string> {
  const find = (text: string) => choices.find((choice) => choice === text)
  return { ...kindOf(placeholder, find, `one of ${choices.join(', ')}`), choices }
}

function kindOf<Value>(
  placeholder: string,
  find: (text: string) => Value | undefined,
  form: string,
): Kind<Value> {
  return { placeholder, find, form }
}

function textOf(placeholder: string): Kind<string> {
  return kindOf(placeholder, (text) => (text === '' ? undefined : text), 'a text that is not empty')
}

/** A part of a path: the API judges it, but "." and ".." would lead elsewhere. */
function nameOf(placeholder: string, names?: NameList): Kind<string> {
  const find = (text: string) => (/^\.{0,2}$/.test(text) ? undefined : text)
  return { ...kindOf(placeholder, find, 'a name'), ...(names !== undefined && { names }) }
}

function findWhole(text: string, min: number, max: number): number | undefined {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
  return value >= min && value <= max ? value : undefined
}

function bareSeconds(text: string): number | undefined {
  return /^\d{1,9}$/.test(text) ? Number(text) * 1_000 : undefined
}

function findIdleSeconds(text: string): number | undefined {
  if (text === 'never') return 0
  const seconds = Math.round((findDurationMs(text) ?? bareSeconds(text) ?? 0) / 1_000)
  return seconds >= MIN_SUSPEND_SECONDS ? atMost(seconds, MAX_SUSPEND_SECONDS) : undefined
}

function atMost(amount: number | undefined, max: number): number | undefined {
  return amount !== undefined && amount <= max ? amount : undefined
}

function findScope(text: string): Scope | undefined {
  const [, pool = '', list = ''] = /^([^:]+):([a-z,]+)$/.exec(text) ?? []
  const verbs = [...new Set(list.split(','))]
  return pool !== '' && verbs.every((verb) => VERBS.includes(verb)) ? { pool, verbs } : undefined
}

function findGrantee(text: string): Grantee | undefined {
  const [, kind = '', value = ''] = /^([a-z]+):(.+)$/.exec(text) ?? []
  if (GRANTEE_KINDS.includes(kind)) return { kind, value }
  if (/^[^@\s:]+@[^@\s:]+$/.test(text)) return { kind: 'email', value: text }
  const [, domain] = /^@?([^@\s:]+\.[^@\s:]+)$/.exec(text) ?? []
  return domain === undefined ? undefined : { kind: 'domain', value: domain }
}

function findMethod(text: string): string | undefined {
  const method = text.toUpperCase()
  return /^[A-Z][A-Z-]{0,31}$/.test(method) ? method : undefined
}

function findPathPrefix(text: string): string | undefined {
  const isPlain = /^\/[A-Za-z0-9._~!$&'()*+,;=:@/-]{0,254}$/.test(text)
  return isPlain && !/\/\.{0,2}\/|\/\.{1,2}$/.test(text) ? text : undefined
}

function findContext(text: string): string | undefined {
  return /^\P{Cc}+$/u.test(text) && text.length <= MAX_CONTEXT_CHARACTERS ? text : undefined
}

/** Without its port: a token is for all of a host name's ports, unless it is narrowed. */
function findAudience(text: string): string | undefined {
  const url = URL.parse(text.includes('://') ? text : `https://${text}`)
  const isBare = text.includes('://') || (url?.pathname === '/' && url.search === '' && url.hash === '')
  const hostname = url?.hostname.replace(/\.$/, '') ?? ''
  const isName = /^(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)+[a-z][a-z0-9-]*$/.test(hostname)
  return isBare && isName && url?.username === '' ? hostname : undefined
}

function findApiUrl(text: string): string | undefined {
  const url = URL.parse(text)
  const isBare = url?.pathname === '/' && url.search === '' && url.hash === '' && url.username === ''
  return url?.protocol === 'https:' && isBare ? url.origin : undefined
}
