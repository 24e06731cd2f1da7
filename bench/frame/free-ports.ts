/** Ports on 127.0.0.1 that nothing listens on. */

import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'

/** All are held until the last is known, so that they differ; after that, another program could take one. */
export async function findFreePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  try {
    await Promise.all(servers.map((server) => once(server, 'listening')))
    return servers.map((server) => (server.address() as AddressInfo).port)
  } finally {
    for (const server of servers) server.close()
  }
}
