/** The metadata service for QEMU's own user-mode network: all of a guest's requests come over one unix stream. */

import { once } from 'node:events'
import { chmod, chown, mkdir, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../lib/log.ts'
import { SidecarError } from '../errors.ts'
import { formatAnswer } from './answer-text.ts'
import type { Asker, Metadata } from './metadata.ts'
import { hasBody, RequestReader } from './request-reader.ts'

/** sun_path of unix(7), with the zero byte at its end. */
const MAX_PATH_BYTES = 107
/** QEMU has one; the second is that of a QEMU that is about to end. */
const MAX_CONNECTIONS = 2
/** A request comes at once: after such a pause, what is left of an earlier one is nothing's beginning. */
const PAUSE_MS = 1_000
/** What a guest may ask for good and at once; a request counts as much as reading this many bytes. */
const BYTES_PER_SECOND = 262_144
const BURST_BYTES = 262_144
const REQUEST_COST = 4_096

export interface SocketSettings {
  readonly path: string
  /** Who may connect: this process's own user when absent. */
  readonly uid?: number
}

/** Takes the place of a socket that an earlier process left. @throws SidecarError network_failed */
export async function startMetadataSocket(
  { log, metadata, asker }: { readonly log: Log; readonly metadata: Metadata; readonly asker: Asker },
  { path, uid }: SocketSettings,
): Promise<AsyncDisposable> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw new SidecarError('network_failed', { detail: `${path} is longer than a socket's path may be` })
  }
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    if (sockets.size >= MAX_CONNECTIONS) {
      socket.destroy()
      return
    }
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    // Reading or writing fails when QEMU ends, which others see to.
    serve(socket, metadata, asker).catch((error: unknown) => log.debug({ error }, 'metadata stream'))
  })
  server.on('error', (error) => log.error({ error, path }, 'the metadata service'))
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await rm(path, { force: true })
    server.listen(path)
    await once(server, 'listening')
    await chmod(path, 0o600)
    if (uid !== undefined) await chown(path, uid, uid)
  } catch (cause) {
    server.close()
    throw new SidecarError('network_failed', { cause, detail: `${path}: ${String(cause)}` })
  }
  return {
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      await server[Symbol.asyncDispose]()
    },
  }
}

/** One request at a time, and none while the guest does not read: its answers must not fill this process's memory. */
async function serve(socket: Socket, metadata: Metadata, asker: Asker): Promise<void> {
  const reader = new RequestReader({ isShared: true })
  const pace = createPace()
  let isDeaf = false
  let readAt = performance.now()
  for await (const chunk of socket.setEncoding('latin1') as AsyncIterable<string>) {
    if (performance.now() - readAt > PAUSE_MS) {
      reader.clear()
      isDeaf = false
    }
    await pace(chunk.length)
    if (!isDeaf) isDeaf = await answerAll(chunk)
    readAt = performance.now()
  }

  /** True when a body follows, whose bytes must not be taken for requests. */
  async function answerAll(chunk: string): Promise<boolean> {
    for (let reading = reader.read(chunk); reading !== 'more'; reading = reader.read('')) {
      await pace(REQUEST_COST)
      if (reading === 'over') continue
      const answer = await metadata.answer(reading, asker)
      if (!socket.write(formatAnswer(answer)))
        await Promise.race([once(socket, 'drain'), once(socket, 'close')])
      if (hasBody(reading)) {
        reader.clear()
        return true
      }
    }
    return false
  }
}

/** The function it answers is told what was taken in, and makes its caller wait when that is too much. */
function createPace(): (cost: number) => Promise<void> {
  let owed = 0
  let countedAt = performance.now()
  return async (cost) => {
    const now = performance.now()
    owed = Math.max(0, owed - ((now - countedAt) / 1_000) * BYTES_PER_SECOND) + cost
    countedAt = now
    if (owed > BURST_BYTES)
      await sleep(((owed - BURST_BYTES) / BYTES_PER_SECOND) * 1_000, undefined, { ref: false })
  }
}
