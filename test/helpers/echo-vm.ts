/** A VM that answers each request with what it saw of it, streams events without end at `/events`, and takes WebSockets. */

import type { IncomingHttpHeaders } from 'node:http'
import type { Test } from 'tap'
import { type Origin, originFor } from './origin.ts'
import { switchingProtocols } from './scripted-vm.ts'

export interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
}

export async function echoVmFor(t: Test): Promise<Origin> {
  const origin = await originFor(t, (request, response) => {
    request.resume()
    if (request.url?.startsWith('/events') !== true) {
      const { method = '', url = '', headers } = request
      response.end(JSON.stringify({ method, url, headers } satisfies Seen))
      return
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: tick\n\n')
  })
  origin.server.on('upgrade', (request, socket) => {
    socket.on('error', () => {})
    origin.requests.push(request)
    socket.write(switchingProtocols(`\r\nsec-websocket-key: ${request.headers['sec-websocket-key']}`))
    t.teardown(() => socket.destroy())
  })
  return origin
}

/** What the VM wrote into its answer. */
export function seenIn({ status, body }: { readonly status: number; readonly body: string }): Seen {
  if (status !== 200) throw new Error(`the VM was not reached: ${status} ${body}`)
  return JSON.parse(body) as Seen
}
