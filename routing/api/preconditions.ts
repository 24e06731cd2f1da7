/** If-Match and If-None-Match over the revisions of records (RFC 9110 section 13). */

import type { IncomingHttpHeaders } from 'node:http'
import { RevisionConflict, RoutingError } from '../errors.ts'

type Tags = '*' | readonly string[]

export interface Preconditions {
  readonly ifMatch?: Tags
  readonly ifNoneMatch?: Tags
}

const TAG = /[ \t]*((?:W\/)?"[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?:,|$)/y

export function toEtag(revision: number): string {
  return `"${revision}"`
}

/** @throws RoutingError `api_precondition_malformed` */
export function parsePreconditions(headers: IncomingHttpHeaders): Preconditions {
  const ifMatch = parseTags('If-Match', headers['if-match'])
  const ifNoneMatch = parseTags('If-None-Match', headers['if-none-match'])
  return { ...(ifMatch && { ifMatch }), ...(ifNoneMatch && { ifNoneMatch }) }
}

/** Checks a write. `current` is the record's revision, 0 when it does not exist. @throws RevisionConflict */
export function checkWrite(preconditions: Preconditions, target: { key: string; current: number }): void {
  const { ifNoneMatch } = preconditions
  checkMatch(preconditions, target)
  if (ifNoneMatch && includes(ifNoneMatch, weakly(target.current))) throw new RevisionConflict(target)
}

/** Checks If-Match of a read. @throws RevisionConflict */
export function checkMatch({ ifMatch }: Preconditions, target: { key: string; current: number }): void {
  if (ifMatch && !includes(ifMatch, strongly(target.current))) throw new RevisionConflict(target)
}

/** True when a read may be answered with 304. */
export function isUnchanged({ ifNoneMatch }: Preconditions, current: number): boolean {
  return ifNoneMatch !== undefined && includes(ifNoneMatch, weakly(current))
}

interface Comparison {
  readonly exists: boolean
  readonly equals: (tag: string) => boolean
}

// RFC 9110 section 8.8.3.2: If-Match compares strongly (a weak tag never matches), If-None-Match weakly.
function strongly(current: number): Comparison {
  return { exists: current !== 0, equals: (tag) => tag === toEtag(current) }
}

function weakly(current: number): Comparison {
  return { exists: current !== 0, equals: (tag) => tag.replace(/^W\//, '') === toEtag(current) }
}

function includes(tags: Tags, { exists, equals }: Comparison): boolean {
  return exists && (tags === '*' || tags.some(equals))
}

function parseTags(name: string, value: string | undefined): Tags | undefined {
  if (value === undefined || value.trim() === '*') return value === undefined ? undefined : '*'
  const tags: string[] = []
  TAG.lastIndex = 0
  while (TAG.lastIndex < value.length) {
    const tag = TAG.exec(value)?.[1]
    if (tag === undefined)
      throw new RoutingError('api_precondition_malformed', { detail: `${name}: ${value}` })
    tags.push(tag)
  }
  return tags
}
