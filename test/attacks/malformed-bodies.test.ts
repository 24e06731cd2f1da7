/**
 * The attacker starts a sound chunked request and then breaks the chunking: bad sizes, bare line feeds, a request
 * hidden behind a short chunk. Whether the VM reads the rest as body or as a request is then a matter of taste, so
 * the edge must not pass on what it cannot read: the VM's connection is cut, the client gets 400 and is closed.
 */

import t from 'tap'
import { APP, attackedEdgeFor, isOver, serves } from '../helpers/attacked-edge.ts'
import { exchange } from '../helpers/raw-client.ts'
import { scriptedVmFor } from '../helpers/scripted-vm.ts'
import { until } from '../helpers/until.ts'

const HIDDEN = `GET /hidden HTTP/1.1\r\nHost: ${APP}\r\n\r\n`

const BODIES: readonly (readonly [string, string])[] = [
  ['a size that is no number', `x\r\nhello\r\n0\r\n\r\n`],
  ['a negative size', `-5\r\nhello\r\n0\r\n\r\n`],
  ['a size with a sign', `+5\r\nhello\r\n0\r\n\r\n`],
  ['a size with 0x', `0x5\r\nhello\r\n0\r\n\r\n`],
  ['a size with a space in front', ` 5\r\nhello\r\n0\r\n\r\n`],
  ['an empty size', `\r\nhello\r\n0\r\n\r\n`],
  ['a size that overflows', `fffffffffffffffff\r\nhello\r\n0\r\n\r\n`],
  ['a bare LF behind the size', `5\nhello\r\n0\r\n\r\n`],
  ['a bare LF behind the data', `5\r\nhello\n0\r\n\r\n`],
  ['a bare CR behind the size', `5\rhello\r\n0\r\n\r\n`],
  ['a bare LF behind the last chunk', `5\r\nhello\r\n0\n\r\n`],
  ['a bare LF in an extension', `5;a\nb\r\nhello\r\n0\r\n\r\n`],
  ['data longer than its size', `4\r\nhello\r\n0\r\n\r\n`],
  ['data shorter than its size', `6\r\nhello\r\n0\r\n\r\n${HIDDEN}`],
  ['no CRLF behind the data', `5\r\nhello0\r\n\r\n${HIDDEN}`],
  ['a control character in an extension', `5;a=\x01\r\nhello\r\n0\r\n\r\n`],
  ['a trailer with a space before the colon', `5\r\nhello\r\n0\r\nX-A : b\r\n\r\n`],
  ['a folded trailer', `5\r\nhello\r\n0\r\nX-A: b\r\n c\r\n\r\n`],
  ['a trailer with a control character', `5\r\nhello\r\n0\r\nX-A: b\x01\r\n\r\n`],
  ['an extension of 64 KiB', `5;${'a'.repeat(65_536)}\r\nhello\r\n0\r\n\r\n`],
]

t.test('refuses a broken chunked body and cuts the connection to the VM', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const [what, body] of BODIES) {
    await t.test(what, async (t) => {
      // A VM that answers whole requests only; a warm connection, so that the head is sent at once.
      const vm = await scriptedVmFor(t)
      await edge.route('strict.localhost', vm.port)
      const head = 'POST /evil HTTP/1.1\r\nHost: strict.localhost\r\nTransfer-Encoding: chunked\r\n\r\n'
      const socket = await edge.dialPlain()
      const answer = await exchange(socket, head + body)
      t.match(String(answer.status), /^(400|413|431)$/, 'the client is told')
      t.ok(await isOver(socket), 'the connection is closed')
      t.same(vm.requests, [], 'the VM never has a whole request')
      await until(
        () => vm.sockets.every((one) => one.readableEnded || one.destroyed),
        'the end of the connection to the VM',
      )
      await serves(t, edge)
    })
  }
})

t.test('never lets a request hide in a body that is cut short', async (t) => {
  const edge = await attackedEdgeFor(t)
  const socket = await edge.dialPlain()
  socket.write(`POST /evil HTTP/1.1\r\nHost: ${APP}\r\nContent-Length: 500\r\n\r\n${HIDDEN}`)
  await until(() => edge.requestLines().length > 0, 'the head at the VM')
  socket.destroy()
  await until(
    () => edge.vm.sockets[0]?.readableEnded === true || edge.vm.sockets[0]?.destroyed === true,
    'a cut',
  )
  await serves(t, edge)
  t.equal(edge.vm.sockets.length, 2, 'the next request has a connection of its own')
})
