/** Unix sockets of a VM: dialled as soon as somebody listens, and listened on for its VMM alone. */

import { once } from 'node:events'
import { constants } from 'node:fs'
import { lchown, open, rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf } from '../../lib/node-error.ts'

const RETRY_MS = 5

/** Of Linux (open(2)): names a file without opening it, for a socket cannot be opened. Node does not export it. */
const O_PATH = 0o10_000_000

export interface Dial {
  readonly signal: AbortSignal
  /** Whose socket it has to be; ours when absent. */
  readonly uid?: number | undefined
}

/**
 * Waits for somebody to listen there, until `signal` aborts. The path may be of any length. Its last folder may be a
 * VMM's own, which might put a link in the way to what only we may speak to: it is not followed, and what is checked is
 * what is connected to. @throws Error with what the connection failed of
 */
export async function dialSocket(path: string, dial: Dial): Promise<Socket> {
  for (;;) {
    dial.signal.throwIfAborted()
    const socket = await dialOnce(path, dial)
    if (socket) return socket
    await sleep(RETRY_MS, undefined, { signal: dial.signal })
  }
}

/** Undefined when nobody listens there yet. */
async function dialOnce(path: string, { signal, uid }: Dial): Promise<Socket | undefined> {
  try {
    await using file = await open(path, O_PATH | constants.O_NOFOLLOW)
    const stats = await file.stat()
    if (!stats.isSocket()) throw new Error(`${basename(path)} is no socket`)
    if (stats.uid !== (uid ?? process.getuid?.())) throw new Error(`${basename(path)} is another user's`)
    return await connected(`/proc/self/fd/${file.fd}`, signal)
  } catch (error) {
    if (isNotYet(error)) return undefined
    throw error
  }
}

async function connected(path: string, signal: AbortSignal): Promise<Socket> {
  // Whoever reads sees the end; that the other side was killed is no news to anybody.
  const socket = connect(path).on('error', () => undefined)
  try {
    await once(socket, 'connect', { signal })
    return socket
  } catch (error) {
    socket.destroy()
    throw error
  }
}

/** Replaces what is there. The folder is the VMM's own: it might put a link in the way, which is not followed. */
export async function listenOn(path: string, uid?: number): Promise<Server> {
  await rm(path, { force: true })
  const server = createServer()
  server.listen(path)
  await once(server, 'listening')
  if (uid !== undefined) await lchown(path, uid, uid)
  return server
}

function isNotYet(error: unknown): boolean {
  return ['ENOENT', 'ECONNREFUSED'].includes(codeOf(error) ?? '')
}
