/**
 * A client offers a protocol that nobody here speaks, as curl does with `Upgrade: h2c`. RFC 9110 section 7.8 lets a server
 * ignore that; a naive proxy destroys the connection without a word. It must be an ordinary request.
 */

import t from 'tap'
import { exchange } from '../helpers/raw-client.ts'
import { HOST, routedEdgeFor } from '../helpers/routed-edge.ts'
import { fieldOf, scriptedVmFor } from '../helpers/scripted-vm.ts'

const UPGRADES: Readonly<Record<string, string>> = {
  h2c: 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n',
  'TLS/1.0': 'Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n',
  'h2c, then websocket in a list': 'Connection: Upgrade\r\nUpgrade: h2c, foo/2\r\n',
  'a name of its own': 'Connection: upgrade\r\nUpgrade: x-tunnel\r\n',
  'websocket that Connection does not name': 'Upgrade: websocket\r\n',
  'nothing, though Connection names it': 'Connection: Upgrade\r\n',
}

for (const way of ['plain', 'tls'] as const) {
  for (const [name, lines] of Object.entries(UPGRADES)) {
    t.test(`an offer of ${name} is an ordinary request over ${way}`, async (t) => {
      const vm = await scriptedVmFor(t)
      const edge = await routedEdgeFor(t, vm.port)
      const get = await edge.send(`GET /get HTTP/1.1\r\nHost: ${HOST}\r\n${lines}\r\n`, way)
      t.match(get, { status: 200, body: 'ok' })
      const post = await edge.send(
        `POST /post HTTP/1.1\r\nHost: ${HOST}\r\n${lines}Content-Length: 5\r\n\r\nhello`,
        way,
      )
      t.match(post, { status: 200, body: 'ok' })
      t.match(vm.requests, [{ head: /^GET \/get / }, { head: /^POST \/post /, body: 'hello' }])
      for (const { head } of vm.requests) {
        t.equal(fieldOf(head, 'upgrade'), undefined)
        t.equal(fieldOf(head, 'http2-settings'), undefined)
        t.equal(fieldOf(head, 'connection'), undefined)
      }
    })
  }
}

t.test('a request behind an ignored offer is answered or sees the connection close', async (t) => {
  // Node's parser stops at an Upgrade and loses what came in the same read.
  const vm = await scriptedVmFor(t)
  const edge = await routedEdgeFor(t, vm.port)
  const offer = `GET /first HTTP/1.1\r\nHost: ${HOST}\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n`
  const next = `GET /second HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`
  const { text } = await exchange(await edge.open('plain'), offer + next)
  t.match(text, /^HTTP\/1\.1 200 /)
  t.equal(text.split('HTTP/1.1 200 ').length - 1, vm.requests.length, 'what reached the VM was answered')
})
