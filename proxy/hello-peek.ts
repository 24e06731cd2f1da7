/** Looks at the ClientHello of an accepted connection and leaves its bytes in the socket, for a TLS server to read. */

import type { Socket } from 'node:net'
import { type ClientHello, parseClientHello } from './client-hello.ts'

export interface HelloPeek {
  /** For the whole hello. */
  readonly timeoutMs: number
  /** The socket holds all bytes that came. Undefined: it is nothing that could be read, a TLS server will say so. */
  readonly onHello: (hello: ClientHello | undefined) => void
  /** The client was too slow or went away, and the socket is destroyed. */
  readonly onLost: (code: 'ERR_TLS_HANDSHAKE_TIMEOUT' | 'ECONNRESET') => void
}

/** Calls `onHello` or `onLost`, once. Until then the socket's events are this function's. */
export function peekHello(socket: Socket, { timeoutMs, onHello, onLost }: HelloPeek): void {
  const received = new Received()
  const finish = () => {
    clearTimeout(timer)
    socket.removeListener('readable', onReadable)
    socket.removeListener('end', onGone)
    socket.removeListener('close', onGone)
    socket.removeListener('error', ignore)
  }
  const lose = (code: Parameters<typeof onLost>[0]) => {
    finish()
    // A reset may still be told as an error.
    socket.on('error', ignore)
    socket.destroy()
    onLost(code)
  }
  const onGone = () => lose('ECONNRESET')
  const timer = setTimeout(() => lose('ERR_TLS_HANDSHAKE_TIMEOUT'), timeoutMs)
  const onReadable = () => {
    const chunk: Buffer | null = socket.read()
    if (chunk === null) return
    const bytes = received.add(chunk)
    const hello = parseClientHello(bytes)
    if (hello === 'more') return
    finish()
    socket.unshift(bytes)
    onHello(hello === 'unreadable' ? undefined : hello)
  }
  socket.on('readable', onReadable)
  socket.on('end', onGone)
  socket.on('close', onGone)
  socket.on('error', ignore)
}

/** 'close' follows. */
function ignore(): void {}

/** Bytes in one piece; a hello that comes byte by byte must not be copied with each of them. */
class Received {
  #bytes: Buffer | undefined
  #length = 0

  /** All that was added so far. */
  add(chunk: Buffer): Buffer {
    const room = this.#bytes
    if (room === undefined) {
      this.#bytes = chunk
      this.#length = chunk.length
      return chunk
    }
    const length = this.#length + chunk.length
    const grown = length <= room.length ? room : Buffer.allocUnsafe(2 * length)
    if (grown !== room) room.copy(grown, 0, 0, this.#length)
    chunk.copy(grown, this.#length)
    this.#bytes = grown
    this.#length = length
    return grown.subarray(0, length)
  }
}
