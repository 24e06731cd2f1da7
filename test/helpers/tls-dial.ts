/** TLS connections to an edge with any option that Node's client has. */

import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import type { Test } from 'tap'

export interface TlsTarget {
  readonly httpsPort: number
  readonly ca: string
}

/** Resolves once the handshake is done. @throws Node's error when it fails */
export async function tlsFor(t: Test, edge: TlsTarget, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({
    host: '127.0.0.1',
    port: edge.httpsPort,
    ca: edge.ca,
    ALPNProtocols: ['http/1.1'],
    ...options,
  })
  t.teardown(() => socket.destroy())
  await new Promise<void>((resolve, reject) =>
    socket.once('secureConnect', () => resolve()).once('error', reject),
  )
  socket.on('error', () => {})
  return socket
}

/** The error code of a handshake that must fail; an empty text when it worked. */
export async function failedHandshake(t: Test, edge: TlsTarget, options: ConnectionOptions): Promise<string> {
  try {
    await tlsFor(t, edge, options)
    return ''
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unnamed'
  }
}
