/** What the gate lets in: who it is for, which row was asked, and what the VM is told. */

import { findSubject } from '../identity.ts'
import { hasControl, type Verified } from '../tokens/token-identity.ts'
import type { Role } from './authorize.ts'
import type { Credential } from './credentials.ts'

/** What the edge consumed of the fields. */
export interface Takes {
  readonly authorization: boolean
  readonly proof: boolean
}

/** Few objects, so that equal ones are the same. */
const TAKES = {
  nothing: { authorization: false, proof: false },
  authorization: { authorization: true, proof: false },
  proof: { authorization: false, proof: true },
  both: { authorization: true, proof: true },
} as const satisfies Record<string, Takes>

export function takesOf({ field, scheme }: Credential): Takes {
  if (field === 'authorization') return scheme === 'dpop' ? TAKES.both : TAKES.authorization
  return scheme === 'dpop' ? TAKES.proof : TAKES.nothing
}

/** Everybody without a credential shares it. */
export const STRANGER = Object.freeze({
  lines: '',
  takes: TAKES.nothing,
  subject: undefined,
  method: 'none',
})

/** A row, as far as a decision hangs on which object it is. */
export interface PassedRow {
  readonly vm?: string
  readonly port?: number
}

export interface PassageParts {
  readonly identity: Verified
  readonly host: string
  readonly takes: Takes
  readonly assertion: string
  readonly row: PassedRow
  /** Of the table when it was decided. */
  readonly version: number
  /** Undefined on a public port for somebody who has no grant. */
  readonly role: Role | undefined
  /** Unix milliseconds; it is decided anew after `goodUntil`, and when the clock was set back. */
  readonly decidedAt: number
  readonly goodUntil: number
}

/** An identity that may pass; one object serves all its requests until something changes. */
export class IdentityPassage {
  readonly identity: Verified
  readonly host: string
  readonly takes: Takes
  readonly assertion: string
  readonly row: PassedRow
  readonly version: number
  readonly role: Role | undefined
  readonly decidedAt: number
  readonly goodUntil: number
  readonly lines: string
  readonly subject: string
  readonly method: Verified['method']
  /** What it was found good for since, while its streams are open. */
  recheckedRow: object
  recheckedVersion: number
  recheckedRole: Role | undefined
  recheckedUntil: number

  constructor(parts: PassageParts, lines: string, rightUntil: number) {
    this.identity = parts.identity
    this.host = parts.host
    this.takes = parts.takes
    this.assertion = parts.assertion
    this.row = parts.row
    this.version = parts.version
    this.role = parts.role
    this.decidedAt = parts.decidedAt
    this.goodUntil = parts.goodUntil
    this.lines = lines
    this.subject = findSubject(parts.identity) ?? ''
    this.method = parts.identity.method
    this.recheckedRow = parts.row
    this.recheckedVersion = parts.version
    this.recheckedRole = parts.role
    this.recheckedUntil = rightUntil
  }
}

/** Header lines for the VM. */
export function linesOf({ user, email, ctx }: Verified, assertion: string): string {
  const lines =
    lineOf('x-landfall-user', user) +
    lineOf('x-landfall-email', email) +
    lineOf('x-landfall-token-ctx', ctx) +
    lineOf('x-landfall-assertion', assertion)
  // In one piece: a string that was put together is gathered anew each time that it is written.
  return Buffer.from(lines, 'latin1').toString('latin1')
}

/** Heads are written as latin1, so UTF-8 goes out as its bytes. A value that could end its line is left out. */
function lineOf(name: string, value: string | undefined): string {
  if (value === undefined || hasControl(value)) return ''
  return `${name}: ${Buffer.from(value).toString('latin1')}\r\n`
}
