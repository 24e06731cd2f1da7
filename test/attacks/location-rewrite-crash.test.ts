/**
 * A tenant's VM answers a redirect to `http://[`. A proxy that rewrites Location parses it as a URL, which throws, and
 * the process dies. The edge has no business in Location: every value passes through untouched.
 */

import t from 'tap'
import { h2Exchange } from '../helpers/h2-client.ts'
import { HOST, routedEdgeFor } from '../helpers/routed-edge.ts'
import { fieldOf, scriptedVmFor } from '../helpers/scripted-vm.ts'

const LOCATIONS = [
  'http://[',
  'http://[::1',
  'http://127.0.0.1:99999/',
  'http://127.0.0.1:3000/inside',
  'https://elsewhere.test/a/../b',
  '//[',
  '//elsewhere.test',
  '/%zz/%',
  '../up',
  '?only=query',
  '#only-fragment',
  'not a url at all',
  '/caf\xc3\xa9',
  'javascript:alert(1)',
]
const STATUSES = [201, 301, 302, 303, 307, 308]

t.test('every Location passes through untouched', async (t) => {
  const vm = await scriptedVmFor(t, (socket, { head }) => {
    const [status, at] = (fieldOf(head, 'x-case') ?? '').split(' ')
    socket.write(
      `HTTP/1.1 ${status} X\r\nlocation: ${LOCATIONS[Number(at)]}\r\ncontent-length: 0\r\n\r\n`,
      'latin1',
    )
  })
  const edge = await routedEdgeFor(t, vm.port)
  const session = await edge.openH2()
  for (const status of STATUSES) {
    for (const [at, location] of LOCATIONS.entries()) {
      const overH1 = await edge.send(
        `GET / HTTP/1.1\r\nHost: ${HOST}\r\nX-Case: ${status} ${at}\r\nConnection: close\r\n\r\n`,
      )
      t.match(overH1, { status, headers: { location } }, `${status} ${location} over HTTP/1.1`)
      const ask = { ':path': '/', ':authority': HOST, 'x-case': `${status} ${at}` }
      const overH2 = await h2Exchange(session, ask)
      t.match(overH2, { status, headers: { location } }, `${status} ${location} over HTTP/2`)
    }
  }
  t.equal(vm.requests.length, 2 * STATUSES.length * LOCATIONS.length, 'the edge followed none of them')
  await edge.checkAlive()
})
