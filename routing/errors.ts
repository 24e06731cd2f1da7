/** What the table, its store and its admin API refuse, and what the reader does next. */

import type { Fault, LandfallErrorOptions } from '../lib/errors.ts'
import { LandfallError } from '../lib/errors.ts'

export const FAULTS = {
  api_unauthorized: {
    status: 401,
    source: 'client',
    retryable: false,
    title: 'The admin API needs its token',
    next: 'Send "Authorization: Bearer <token>". The token is in the file admin.token in the data folder (LANDFALL_DATA).',
  },
  api_not_found: {
    status: 404,
    source: 'client',
    retryable: false,
    title: 'There is nothing at this address',
    next: 'GET /v1/routes and GET /v1/vms list what exists; GET / describes the API.',
  },
  api_method_not_allowed: {
    status: 405,
    source: 'client',
    retryable: false,
    title: 'This address does not have this method',
    next: 'Use one of the methods in the Allow header.',
  },
  api_request_malformed: {
    status: 400,
    source: 'client',
    retryable: false,
    title: 'The request cannot be read',
    next: 'Check the path, its percent-encoding, the query and the headers, then send the request again.',
  },
  api_precondition_malformed: {
    status: 400,
    source: 'client',
    retryable: false,
    title: 'The If-Match or If-None-Match header cannot be read',
    next: 'Send the ETag as it was received, quotes included (If-Match: "123"), a list of them, or *.',
  },
  api_json_malformed: {
    status: 400,
    source: 'client',
    retryable: false,
    title: 'The body is not JSON',
    next: 'Send one JSON object as UTF-8; a member named __proto__ or constructor.prototype is refused.',
  },
  api_media_type_unsupported: {
    status: 415,
    source: 'client',
    retryable: false,
    title: 'The body is of a type that is not read here',
    next: 'Send JSON with "Content-Type: application/json".',
  },
  api_body_too_large: {
    status: 413,
    source: 'client',
    retryable: false,
    title: 'The body is larger than 64 KiB',
    next: 'Send a smaller body; a route needs less than 1 KiB.',
  },
  api_record_invalid: {
    status: 422,
    source: 'client',
    retryable: false,
    title: 'A field is missing, unknown or has a wrong value',
    next: 'Correct the field that "field" points to; "detail" says what is allowed there.',
  },
  api_vm_unknown: {
    status: 422,
    source: 'client',
    retryable: false,
    title: 'No VM has this name',
    next: 'GET /v1/vms lists the VMs. Write the route again with one of these names, or with "upstream" for a bare address.',
  },
  api_hostname_reserved: {
    status: 409,
    source: 'client',
    retryable: false,
    title: 'This host name belongs to the edge itself',
    next: 'Choose another host name; admin.<domain> and auth.<domain> cannot be routed.',
  },
  api_revision_conflict: {
    status: 412,
    source: 'client',
    retryable: false,
    title: 'The record is not at the revision that was asked for',
    next: 'GET it again, apply the change to what it is now, and send it with the new ETag in If-Match.',
  },
  api_record_broken: {
    status: 500,
    source: 'internal',
    retryable: false,
    title: 'The stored record breaks a rule of its kind',
    next: 'Write it again with PUT, or DELETE it. Edges keep the last good row until then.',
  },
  api_internal: {
    status: 500,
    source: 'internal',
    retryable: true,
    title: 'The admin API failed',
    next: 'Send the request again. If it fails again, look for its requestId in the log of this process.',
  },
  api_closed: {
    status: 503,
    source: 'internal',
    retryable: true,
    title: 'The admin API is shutting down',
    next: 'Send the request again in a few seconds.',
  },
  api_token_unusable: {
    status: 500,
    source: 'internal',
    retryable: false,
    title: 'The file admin.token does not hold a token',
    next: 'Delete the file and start again; a new token is made. Or put 32 or more characters of A-Z a-z 0-9 - _ in it.',
  },
  store_closed: {
    status: 503,
    source: 'internal',
    retryable: true,
    title: 'The store is closed',
    next: 'The process is shutting down; send the request again in a few seconds.',
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
    next: 'Check that the data folder is writable, that landfall.sqlite is a database, and that no other process has it open.',
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
