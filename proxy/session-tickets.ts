/** TLS session tickets under keys that all edges share, by a callback of Node's that its documentation leaves out. */

import { randomBytes, randomFillSync } from 'node:crypto'
import type { Server } from 'node:tls'
import type { TicketKey, TicketKeys } from './certificates.ts'

/** RFC 5077 section 4. */
const KEY_BYTES = 16
/** OpenSSL's results of its ticket key callback; renewed, because a ticket is for one use (RFC 8446 section C.4). */
const STATUS = { unknown: 0, sealed: 1, openedAndRenewed: 2 } as const
/** The process ends when one of the buffers is missing, even with a status that needs none. */
const NO_KEY = Buffer.alloc(KEY_BYTES)
const UNKNOWN: TicketAnswer = [STATUS.unknown, NO_KEY, NO_KEY, NO_KEY, NO_KEY]

/** Status, key of the HMAC, key of AES, and for a new ticket the key's name and the IV. */
type TicketAnswer = [number, Buffer, Buffer, Buffer, Buffer]

interface NativeContext {
  enableTicketKeyCallback?: () => void
  onticketkeycallback?: (name: Buffer, iv: Buffer, isNew: boolean) => TicketAnswer
}

/**
 * Lets `server` seal and open its tickets with `tickets`. Sessions of another edge are taken only when both servers
 * have the same `sessionIdContext`. The result is to be called with every connection: where Node has no such callback,
 * it hands the newest key to Node, and tickets of older keys are not opened.
 */
export function shareTickets(server: Server, tickets: TicketKeys): () => void {
  const context = contextOf(server)
  if (context?.enableTicketKeyCallback === undefined) return followNewestKey(server, tickets)
  const own = createOwnKey()
  context.enableTicketKeyCallback()
  context.onticketkeycallback = (name, _iv, isNew) => {
    try {
      return isNew ? seal(tickets.sealing ?? own) : open(name.equals(own.name) ? own : tickets.find(name))
    } catch {
      return UNKNOWN
    }
  }
  return () => {}
}

function seal({ name, hmacKey, aesKey }: TicketKey): TicketAnswer {
  return [STATUS.sealed, hmacKey, aesKey, name, nextIv()]
}

/** Of many at once: one alone costs 4 µs. */
const IVS = Buffer.alloc(256 * KEY_BYTES)
let ivsLeft = 0

function nextIv(): Buffer {
  if (ivsLeft === 0) {
    randomFillSync(IVS)
    ivsLeft = IVS.length / KEY_BYTES
  }
  ivsLeft -= 1
  return IVS.subarray(ivsLeft * KEY_BYTES, (ivsLeft + 1) * KEY_BYTES)
}

function open(key: TicketKey | undefined): TicketAnswer {
  if (key === undefined) return UNKNOWN
  return [STATUS.openedAndRenewed, key.hmacKey, key.aesKey, key.name, NO_KEY]
}

/** Until the shared keys are known, clients resume at the edge that they come from. */
function createOwnKey(): TicketKey {
  return { name: randomBytes(KEY_BYTES), hmacKey: randomBytes(KEY_BYTES), aesKey: randomBytes(KEY_BYTES) }
}

/** OpenSSL's context of a server, another one after `setSecureContext`. */
export function contextOf(server: Server): NativeContext | undefined {
  return (server as { _sharedCreds?: { context?: NativeContext } })._sharedCreds?.context
}

function followNewestKey(server: Server, tickets: TicketKeys): () => void {
  let known: TicketKey | undefined
  return () => {
    const { sealing } = tickets
    if (sealing === undefined || sealing === known) return
    known = sealing
    server.setTicketKeys(Buffer.concat([sealing.name, sealing.hmacKey, sealing.aesKey]))
  }
}
