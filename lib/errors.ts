/** The one error shape: a stable code, a status, whose fault it is and whether a retry helps. */

/** Who has to act for the error to go away. */
export type ErrorSource = 'client' | 'upstream' | 'internal'

/** What is known of every error with one code; these texts are all that a client is shown. */
export interface Fault {
  /** HTTP status of the answer. */
  readonly status: number
  readonly source: ErrorSource
  /** True when the same request may succeed later without a change. */
  readonly retryable: boolean
  /** What happened, one sentence without a full stop. */
  readonly title: string
  /** What the reader does next, one or two sentences. */
  readonly next: string
  /** RFC 9209 section 2.3 error type, where one fits. */
  readonly proxyStatus?: string
}

export interface LandfallErrorOptions {
  readonly cause?: unknown
  /** Facts for the client beyond title and next step, safe to show. */
  readonly detail?: string
  /** Facts for the log only. */
  readonly context?: Readonly<Record<string, unknown>>
}

/** A refusal or failure that one place turns into an answer and a log line. */
export class LandfallError extends Error {
  readonly code: string
  readonly fault: Fault
  readonly detail: string | undefined
  readonly context: Readonly<Record<string, unknown>>

  constructor(code: string, fault: Fault, options: LandfallErrorOptions = {}) {
    // A refusal is an expected answer; its stack would tell nothing and cost 4 µs of each hostile request.
    const limit = Error.stackTraceLimit
    if (fault.source !== 'internal') Error.stackTraceLimit = 0
    super(options.detail ?? fault.title, options.cause === undefined ? undefined : { cause: options.cause })
    Error.stackTraceLimit = limit
    this.name = new.target.name
    this.code = code
    this.fault = fault
    this.detail = options.detail
    this.context = options.context ?? {}
  }
}
