/**
 * Bytes that are no HTTP stand behind a sound request in the same packet: a second request after `Connection: close`,
 * a broken one, noise. A naive server blames the request in front, which the VM may already have carried out, and its
 * client does not learn how it went. What was whole is answered; only then is the rest refused and the connection closed.
 */

import t from 'tap'
import { APP, attackedEdgeFor, isOver } from '../helpers/attacked-edge.ts'
import { exchange } from '../helpers/raw-client.ts'

const get = (path: string, extra = '') => `GET ${path} HTTP/1.1\r\nHost: ${APP}\r\n${extra}\r\n`
const POST = `POST /good HTTP/1.1\r\nHost: ${APP}\r\nContent-Length: 2\r\n\r\nhi`
const CHUNKED = `POST /good HTTP/1.1\r\nHost: ${APP}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n`
const CLOSE = 'Connection: close\r\n'

/** What is sent, how many sound requests it holds, and what may follow their answers. */
const CASES: readonly (readonly [what: string, bytes: string, good: number, rest: readonly string[]])[] = [
  ['a request behind Connection: close', get('/good', CLOSE) + get('/never'), 1, []],
  ['noise behind Connection: close', `${get('/good', CLOSE)}\0\x01\x02`, 1, []],
  ['an empty line behind Connection: close', `${get('/good', CLOSE)}\r\n`, 1, []],
  ['a request behind an HTTP/1.0 one', get('/good').replace('1.1', '1.0') + get('/never'), 1, []],
  ['noise behind a GET', `${get('/good')}\0\x01\x02`, 1, ['400']],
  ['a broken request line behind a GET', `${get('/good')}NONSENSE\r\n\r\n`, 1, ['400']],
  ['a broken field behind a GET', get('/good') + get('/evil', 'X : y\r\n'), 1, ['400']],
  ['noise behind the body of a POST', `${POST}\0\x01\x02`, 1, ['400']],
  ['noise behind the last chunk of a POST', `${CHUNKED}\0\x01\x02`, 1, ['400']],
  ['a broken request behind two good ones', `${get('/good')}${get('/good')}NONSENSE\r\n\r\n`, 2, ['400']],
]

t.test('answers what was whole, and refuses only what stands behind it', async (t) => {
  for (const [what, bytes, good, rest] of CASES) {
    await t.test(what, async (t) => {
      const edge = await attackedEdgeFor(t)
      const socket = await edge.dialPlain()
      const { text } = await exchange(socket, bytes)
      const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => status)
      t.same(statuses.slice(0, good), Array(good).fill('200'), 'the answers of the VM')
      t.ok(
        statuses.length === good || String(statuses.slice(good)) === String(rest),
        `then ${statuses.slice(good)}`,
      )
      t.ok(await isOver(socket), 'the connection is closed')
      const paths = edge.requestLines().map((line) => line.split(' ')[1])
      t.same(paths, Array(good).fill('/good'), 'the VM has seen the sound ones')
    })
  }
})
