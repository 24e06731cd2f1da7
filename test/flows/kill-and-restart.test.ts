/** `kill -9` loses nothing: what the admin API confirmed is served after the next start. */

import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { get } from 'node:https'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { type Landfall, landfallFor } from '../helpers/landfall.ts'
import { originFor } from '../helpers/origin.ts'

const NAMES = Array.from({ length: 20 }, (_unused, index) => `app-${index}.localhost`)
const DELETED = 'app-0.localhost'

t.test('routes outlive a kill -9, and so do the CA and the token', async (t) => {
  const origin = await originFor(t, (request, response) => response.end(`host ${request.headers.host}`))
  const first = await landfallFor(t)
  for (const name of NAMES) {
    const wanted = { upstream: `127.0.0.1:${origin.port}`, visibility: 'public' }
    t.equal((await first.admin('PUT', `/v1/routes/${name}`, wanted)).status, 201)
  }
  t.equal((await first.admin('DELETE', `/v1/routes/${DELETED}`)).status, 204)
  // The confirmation of the last write is all that was waited for.
  first.signal('SIGKILL')
  t.equal((await first.exited).signal, 'SIGKILL')

  const second = await landfallFor(t, { dataFolder: first.dataFolder })
  t.equal(second.ca, first.ca, 'the CA that a user trusts stays')
  t.equal(second.adminToken, first.adminToken)
  for (const name of NAMES.slice(1)) {
    const answer = await getText(second, name)
    t.same(answer, { status: 200, body: `host ${name}:${second.httpsPort}` }, name)
  }
  t.equal((await getText(second, DELETED)).status, 404, 'what was deleted stays deleted')
  t.equal((await getText(second, 'hello.localhost')).status, 200, 'the VM hello runs again')
})

async function getText({ httpsPort, ca }: Landfall, hostname: string) {
  const outgoing = get({
    host: '127.0.0.1',
    port: httpsPort,
    servername: hostname,
    ca,
    // A deleted name has no certificate of its own any more.
    rejectUnauthorized: hostname !== DELETED,
    headers: { host: `${hostname}:${httpsPort}` },
    agent: false,
  })
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  return { status: response.statusCode, body: await text(response) }
}
