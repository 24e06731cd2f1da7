/** A client that comes back with a TLS session: each visit is one connection with one request over HTTP/1.1. */

import { once } from 'node:events'
import { connect, type SecureVersion } from 'node:tls'
import type { TlsTarget } from './tls-dial.ts'

/** RFC 5077 section 4: a ticket begins with the name of its key. */
const KEY_NAME_BYTES = 16

export interface Visit {
  readonly version: SecureVersion
  readonly servername: string
  /** By default the server name. */
  readonly host?: string
  readonly fields?: string
  readonly session?: Buffer | undefined
}

export interface Visited {
  readonly isResumed: boolean
  readonly status: number
  readonly body: string
  /** The newest one that the server gave. */
  readonly session: Buffer | undefined
  /** Names the key that its ticket is sealed with; empty without one. */
  readonly keyName: string
}

/** @throws Error when the handshake fails, or when the certificate is not the server name's */
export async function visit({ httpsPort, ca }: TlsTarget, options: Visit): Promise<Visited> {
  const { version, servername, host = servername, fields = '', session } = options
  const socket = connect({
    ...{ host: '127.0.0.1', port: httpsPort, servername, ca },
    ...{ minVersion: version, maxVersion: version },
    ...(session !== undefined && { session }),
  })
  let newest: Buffer | undefined
  let keyName = ''
  socket.on('session', (given) => {
    newest = given
    keyName = socket.getTLSTicket()?.subarray(0, KEY_NAME_BYTES).toString('hex') ?? ''
  })
  await once(socket, 'secureConnect')
  const isResumed = socket.isSessionReused()
  socket.write(`GET / HTTP/1.1\r\nHost: ${host}:${httpsPort}\r\n${fields}Connection: close\r\n\r\n`)
  let text = ''
  for await (const chunk of socket.setEncoding('utf8')) text += chunk
  const [head = '', body = ''] = text.split('\r\n\r\n', 2)
  return { isResumed, status: Number(head.split(' ')[1]), body, session: newest, keyName }
}
