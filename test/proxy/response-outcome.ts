/** What a response parser made of a byte stream, in one shape for Node's parser and ours. */

export interface Head {
  readonly status: number
  readonly reason: string
  /** Names and values, alternating. */
  readonly headers: readonly string[]
}

/** `body` and `rest` are latin1 text, so that a difference can be read. */
export interface Outcome {
  /** Without reason, which Node does not tell of informational responses. */
  informs: Omit<Head, 'reason'>[]
  head: Head | undefined
  /** Whether the connection may carry another request. */
  keepAlive: boolean
  body: string
  trailers: readonly string[]
  /** The message's end was seen, by its framing or, where that is the framing, by the end of the stream. */
  isComplete: boolean
  upgrade: { readonly head: Head; rest: string } | undefined
  failure: Failure | undefined
}

export interface Failure {
  /** 'incomplete': the stream ended too early; 'refused': the bytes are not HTTP. */
  readonly kind: 'refused' | 'incomplete'
  readonly code: string
  readonly detail: string
}

/** The request whose response is read. */
export interface Asked {
  readonly method: string
  readonly isUpgrade: boolean
}

export function emptyOutcome(): Outcome {
  return {
    informs: [],
    head: undefined,
    keepAlive: false,
    body: '',
    trailers: [],
    isComplete: false,
    upgrade: undefined,
    failure: undefined,
  }
}
