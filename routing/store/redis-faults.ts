/** What goes wrong with Redis, in the words of this folder: it does not answer, or it refuses. */

import { ReplyError } from 'ioredis'
import { RoutingError } from '../errors.ts'

/** ioredis hangs the command on its errors, and with it documents and passwords: no log may see them. */
interface WithCommand extends Error {
  command?: unknown
}

/**
 * Any error of ioredis: `store_refused` when Redis answered with an error, which the detail names by its first
 * word, else `store_unreachable`. The cause is kept without the command.
 */
export function toStoreError(error: unknown): RoutingError {
  if (error instanceof RoutingError) return error
  const isAnswer = error instanceof Error && error instanceof ReplyError
  if (!isAnswer) {
    if (error instanceof Error) delete (error as WithCommand).command
    return new RoutingError('store_unreachable', { cause: error })
  }
  const code = codeOf(error)
  // Redis repeats arguments of commands that it does not know: the answer itself is no cause to be shown.
  return new RoutingError('store_refused', { detail: `Redis answered ${code}.`, context: { code } })
}

/** Why there is no connection, without anything that was sent. */
export function reasonOf(error: unknown): string {
  if (error instanceof Error && error instanceof ReplyError) return `Redis answered ${codeOf(error)}`
  return error instanceof Error ? error.message : String(error)
}

/** What a script's call met, where the server says it in the middle of its answer. */
const INNER = /-(READONLY|NOPERM|OOM|MOVED|MISCONF|NOREPLICAS|CLUSTERDOWN) /

/** The word in capitals that opens an error of Redis. */
export function codeOf({ message }: Error): string {
  if (message.includes('The user executing the script')) return 'NOPERM'
  return INNER.exec(message)?.[1] ?? /^[A-Z]+/.exec(message)?.[0] ?? 'an error'
}

/** This server takes no writes for these keys, or not any more: another one does. */
export function isWrongServer(error: Error): boolean {
  return ['READONLY', 'MOVED', 'UNBLOCKED', 'MASTERDOWN', 'CLUSTERDOWN'].includes(codeOf(error))
}
