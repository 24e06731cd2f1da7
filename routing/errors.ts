/** What the table, its store and its admin API refuse, and what the reader does next. */

import type { Fault, LandfallErrorOptions } from '../lib/errors.ts'
import { LandfallError } from '../lib/errors.ts'
import { API_FAULTS } from './api-faults.ts'

export const FAULTS = {
  ...API_FAULTS,
  store_closed: {
    status: 503,
    source: 'internal',
    retryable: true,
    title: 'The store is closed',
    next: 'The process is shutting down; send the request again in a few seconds.',
  },
  store_unreachable: {
    status: 503,
    source: 'internal',
    retryable: true,
    title: 'The store does not answer',
    next: 'Edges go on serving what they know. Check Redis and the network to it; a write that was under way may have been carried out: read before you repeat it.',
  },
  store_refused: {
    status: 503,
    source: 'internal',
    retryable: true,
    title: 'Redis refused the operation',
    next: 'See "detail": the user may lack rights (docs/wire.md has the ACL rule), or Redis is out of memory or read-only.',
  },
  host_name_taken: {
    status: 500,
    source: 'internal',
    retryable: true,
    title: 'Another host with this name is running',
    next: 'Give this host another name (LANDFALL_HOST_NAME), or end the other one; a host that was killed is forgotten after 15 seconds.',
  },
  secret_key_unusable: {
    status: 500,
    source: 'internal',
    retryable: false,
    title: "The file with the store's secret key cannot be used",
    next: 'LANDFALL_SECRET_KEY_FILE must name a file with 32 random bytes in base64 that only its owner can read; every edge needs the same one.',
  },
  secret_unreadable: {
    status: 500,
    source: 'internal',
    retryable: false,
    title: 'A secret in the store cannot be decrypted',
    next: 'It was written with another secret key, or altered. Give this process the key that wrote it.',
  },
  store_failed: {
    status: 503,
    source: 'internal',
    retryable: true,
    title: 'The store could not carry out the operation',
    next: 'Check that the disk of the data folder is writable and not full, then send the request again.',
  },
  store_unusable: {
    status: 500,
    source: 'internal',
    retryable: false,
    title: 'The store cannot be opened',
    next: 'See "detail": it names the data folder (is it writable, is landfall.sqlite a database, does another process have it open?), or a LANDFALL_REDIS_ setting.',
  },
  store_schema_newer: {
    status: 500,
    source: 'internal',
    retryable: false,
    title: 'The store was written by a newer version of Landfall',
    next: 'Start the newer version, or point LANDFALL_DATA at another folder.',
  },
} as const satisfies Record<string, Fault>

export type RoutingCode = keyof typeof FAULTS

/** Any refusal of this folder; the two that callers act on have a class of their own. */
export class RoutingError extends LandfallError {
  constructor(code: RoutingCode, options: LandfallErrorOptions = {}) {
    super(code, FAULTS[code], options)
  }
}

export interface RevisionMismatch {
  readonly key: string
  /** The revision that the write asked for, where it named exactly one. */
  readonly expected?: number
  /** The key's revision; 0 when it does not exist. */
  readonly current: number
}

/** A conditional write met another revision than the one it named. */
export class RevisionConflict extends RoutingError {
  /** The key's revision; 0 when it does not exist. */
  readonly current: number

  constructor(mismatch: RevisionMismatch) {
    const { current } = mismatch
    const detail = current === 0 ? 'It does not exist.' : `Its ETag is now "${current}".`
    super('api_revision_conflict', { detail, context: { ...mismatch } })
    this.current = current
  }
}

/** A record or a request body that breaks a rule of its kind. */
export class RecordInvalid extends RoutingError {
  /** JSON pointer (RFC 6901) to the field at fault; empty for the whole. */
  readonly field: string

  constructor(field: string, detail: string) {
    super('api_record_invalid', { detail, context: { field } })
    this.field = field
  }
}
