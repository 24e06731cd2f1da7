/** `landfall dev` runs under the flags that it was measured with, and gives a client one session ticket for each handshake. */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:tls'
import t from 'tap'
import { type Landfall, type LandfallOptions, landfallFor } from '../helpers/landfall.ts'

const HEAP_FLAGS = ['--max-semi-space-size=32', '--initial-old-space-size=256']
const CASES = [
  { who: 'without a setting', env: {}, tickets: 1 },
  // An empty file: OpenSSL as it is.
  { who: 'who has a configuration of OpenSSL', env: { OPENSSL_CONF: '/dev/null' }, tickets: 2 },
  { who: 'who has one as a flag', env: { NODE_OPTIONS: '--openssl-config=/dev/null' }, tickets: 2 },
] as const

for (const { who, env, tickets } of CASES) {
  t.test(`${who}: ${tickets}`, async (t) => {
    const landfall = await landfallFor(t, { env } satisfies LandfallOptions)
    const commandLine = readFileSync(`/proc/${landfall.pid}/cmdline`, 'utf8').split('\0')
    for (const flag of HEAP_FLAGS) t.ok(commandLine.includes(flag), flag)
    const full = await countTickets(landfall)
    t.match(full, { isResumed: false, tickets })
    t.match(await countTickets(landfall, full.session), { isResumed: true, tickets: 1 })
  })
}

/** Tickets come before the answer to the first request. */
async function countTickets({ httpsPort, ca }: Landfall, session?: Buffer) {
  const socket = connect({
    ...{ host: '127.0.0.1', port: httpsPort, servername: 'localhost', ca, minVersion: 'TLSv1.3' },
    ...(session !== undefined && { session }),
  })
  const given: Buffer[] = []
  socket.on('session', (ticket) => given.push(ticket))
  await once(socket, 'secureConnect')
  const isResumed = socket.isSessionReused()
  socket.end('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n').resume()
  await once(socket, 'close')
  return { isResumed, tickets: given.length, session: given.at(-1) }
}
