/** Reads `?limit` and `?after` of a listing. */

import { RoutingError } from './errors.ts'

const DEFAULT_LIMIT = 100
const MAX_LIMIT = 1_000

export interface PageRequest {
  readonly limit: number
  /** The name to read on from, exclusive; empty for the first page. */
  readonly after: string
}

/** @throws RoutingError `api_request_malformed` */
export function parsePageRequest(query: unknown): PageRequest {
  const { limit, after, ...others } = Object(query) as Record<string, unknown>
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) throw malformed(`There is no query parameter "${unknown}".`)
  return { limit: parseLimit(limit), after: parseAfter(after) }
}

function parseLimit(text: unknown): number {
  if (text === undefined) return DEFAULT_LIMIT
  const limit = typeof text === 'string' && /^\d{1,4}$/.test(text) ? Number(text) : 0
  if (limit >= 1 && limit <= MAX_LIMIT) return limit
  throw malformed(`"limit" must be a whole number from 1 to ${MAX_LIMIT}.`)
}

function parseAfter(text: unknown): string {
  if (text === undefined) return ''
  if (typeof text === 'string') return text
  throw malformed('"after" must be given once.')
}

function malformed(detail: string): RoutingError {
  return new RoutingError('api_request_malformed', { detail })
}
