/** Ports on 127.0.0.1 for programs that have to be told one: nothing listens on it, and nobody else is given it before the test's process ends. */

import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type ListenOptions, type Server } from 'node:net'

/** Below what Linux itself gives to listeners on port 0 and to connections (from 32768), and above what browsers refuse (10080). */
const LEAST = 10_100
const MOST = 32_767

export async function findFreePort(): Promise<number> {
  for (;;) {
    const port = randomInt(LEAST, MOST + 1)
    // A name that goes with the process tells other test processes that the port is taken.
    const claim = await listen({ path: `\0landfall-test-port-${port}` })
    const server = claim && (await listen({ port, host: '127.0.0.1' }))
    if (server === undefined) continue
    server.close()
    await once(server, 'close')
    return port
  }
}

async function listen(options: ListenOptions): Promise<Server | undefined> {
  const server = createServer().listen(options).unref()
  return once(server, 'listening').then(
    () => server,
    () => undefined,
  )
}
