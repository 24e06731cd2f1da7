/** Follows the API's change feed across lost connections. */

import type { IncomingMessage } from 'node:http'
import type { Api, Query } from './api.ts'
import { ApiRefusal, Interrupted } from './errors.ts'
import { pause } from './pause.ts'
import { readEvents, type ServerEvent } from './sse.ts'

export interface Following {
  readonly query: Query
  /** The id of the last event that was seen; the first event is then the one after it. */
  readonly from?: string
  readonly signal: AbortSignal
  /** Told each time that the connection is lost and will be made again. */
  readonly onLost: (reason: string) => void
}

/** The API sends a comment every few seconds when there is nothing to tell. */
const SILENCE_MS = 60_000
const FIRST_PAUSE_MS = 500
const MAX_PAUSE_MS = 15_000

/**
 * Every event after `from`, without an end. A connection that cannot be made the first time is an error, one that is
 * lost later is made again. @throws ApiRefusal, CliError, Interrupted
 */
export async function* followEvents(api: Api, following: Following): AsyncGenerator<ServerEvent> {
  let lastId = following.from
  let incoming = await connect(api, following, lastId)
  for (;;) {
    for await (const event of readUntilLost(incoming, following)) {
      if (event.id !== '') lastId = event.id
      if (event.data !== '') yield event
    }
    incoming = await reconnect(api, following, lastId)
  }
}

/** Ends when the connection does. @throws Interrupted */
async function* readUntilLost(
  incoming: IncomingMessage,
  { signal, onLost }: Following,
): AsyncGenerator<ServerEvent> {
  try {
    yield* readEvents(incoming)
    onLost('the API ended the stream')
  } catch (error) {
    if (signal.aborted) throw new Interrupted('interrupted', { cause: error })
    onLost((error as Error).message)
  }
}

async function reconnect(
  api: Api,
  following: Following,
  lastId: string | undefined,
): Promise<IncomingMessage> {
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS)) {
    await pause(pauseMs, following.signal)
    try {
      return await connect(api, following, lastId)
    } catch (error) {
      if (isFinal(error)) throw error
      following.onLost((error as Error).message)
    }
  }
}

async function connect(api: Api, { query }: Following, lastId: string | undefined): Promise<IncomingMessage> {
  const headers = {
    accept: 'text/event-stream, application/problem+json',
    ...(lastId !== undefined && { 'last-event-id': lastId }),
  }
  const incoming = await api.stream('/v1/events', { query, headers })
  return incoming.setTimeout(SILENCE_MS, () => incoming.destroy(new Error('the API is silent')))
}

/** What another attempt would meet again. */
function isFinal(error: unknown): boolean {
  return error instanceof Interrupted || (error instanceof ApiRefusal && !error.fault.retryable)
}
