/** `landfall events` prints each change as it happens, across lost connections. */

import type { ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import { until } from '../helpers/until.ts'
import { scriptedCliFor } from './cli-process.ts'
import { problem } from './scripted-api.ts'

const change = (revision: number, kind: string, name: string, action = 'put') =>
  `id: ${revision}\nevent: ${kind}\ndata: ${JSON.stringify({ revision, kind, name, action })}\n\n`

/** A stream that the test writes to: one response for each connection. */
async function streamFor(t: Test) {
  const streams: ServerResponse[] = []
  let refuse: (() => ReturnType<typeof problem>) | undefined
  const scripted = await scriptedCliFor(t, (_call, response) => {
    if (refuse !== undefined) return refuse()
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.flushHeaders()
    streams.push(response)
    return undefined
  })
  const opened = async (count: number) => {
    await until(() => streams.length === count, `connection ${count}`)
    const stream = streams[count - 1]
    if (stream === undefined) throw new Error('there is no stream')
    return stream
  }
  const refuseWith = (status?: number) => {
    refuse = status === undefined ? undefined : () => problem(status, `status_${status}`)
  }
  return { ...scripted, opened, refuseWith }
}

t.test('prints a line for each change until there are enough', async (t) => {
  const { cli, calls, opened } = await streamFor(t)
  const running = cli(['events', '--pool', 'web', '--limit', '3'])
  const stream = await opened(1)
  stream.write('id: 5\n\n')
  stream.write(change(6, 'vm', 'web'))
  stream.write(`: keep-alive\nid: 6\n\n${change(7, 'grant', 'web/g1', 'delete')}`)
  stream.write('id: 9\nevent: resync\ndata: {"revision": 9}\n\n')
  const { code, stdout } = await running
  t.equal(code, 0)
  t.equal(
    stdout,
    '6  put     vm/web\n7  delete  grant/web/g1\n9  resync  something may have been missed: list again\n',
  )
  t.match(calls[0], { path: '/v1/events', query: { pool: 'web' }, headers: { accept: /text\/event-stream/ } })
  t.equal(calls[0]?.headers['last-event-id'], undefined)
})

t.test('with --json each event is one line', async (t) => {
  const { cli, opened } = await streamFor(t)
  const running = cli(['events', '--json', '--limit', '2'])
  const stream = await opened(1)
  stream.write(change(6, 'vm', 'web'))
  stream.write('id: 9\nevent: resync\ndata: {"revision": 9}\n\n')
  const lines = (await running).stdout.trim().split('\n')
  t.same(
    lines.map((line) => JSON.parse(line)),
    [
      { revision: 6, kind: 'vm', name: 'web', action: 'put' },
      { revision: 9, kind: 'resync' },
    ],
  )
})

t.test('goes on where it was when the connection is lost', async (t) => {
  const { cli, calls, opened, refuseWith } = await streamFor(t)
  const running = cli(['events', '--follow', '4', '--limit', '3'])
  const first = await opened(1)
  first.write(change(6, 'vm', 'one'))
  first.write(': keep-alive\nid: 8\n\n')
  first.write('id: 99\nevent: vm\ndata: {"cut": ')
  await until(() => first.writableLength === 0, 'it is written')
  refuseWith(503)
  first.destroy()
  await until(() => calls.length === 2, 'it comes back, and is refused')
  refuseWith()
  const second = await opened(2)
  second.end(change(9, 'vm', 'two'))
  const third = await opened(3)
  third.write(change(10, 'vm', 'three'))
  const { code, stdout, stderr } = await running
  t.equal(code, 0)
  t.equal(stdout, '6  put     vm/one\n9  put     vm/two\n10  put     vm/three\n')
  t.same(
    calls.map(({ headers }) => headers['last-event-id']),
    ['4', '8', '8', '9'],
    'an id that came without an event counts, one of an event that was cut off does not',
  )
  t.match(stderr, /^landfall: .*; connecting again\n/)
})

t.test('a first connection that cannot be made is an error, and so is a refusal later', async (t) => {
  const { cli, calls, opened, refuseWith } = await streamFor(t)
  refuseWith(503)
  t.equal((await cli(['events'])).code, 6)
  refuseWith(403)
  t.equal((await cli(['events'])).code, 3)
  t.equal(calls.length, 2, 'it is not tried again')
  refuseWith()
  const running = cli(['events'])
  const stream = await opened(1)
  refuseWith(401)
  stream.destroy()
  const { code, stderr } = await running
  t.equal(code, 3)
  t.match(stderr, 'status_401')
})

t.test('Ctrl-C ends it at once, connected or not', async (t) => {
  const { cli, calls, opened, refuseWith } = await streamFor(t)
  const one = new AbortController()
  const running = cli(['events'], { signal: one.signal })
  await opened(1)
  one.abort()
  t.match(await running, { code: 130, stdout: '', stderr: '' })
  const other = new AbortController()
  const lost = cli(['events'], { signal: other.signal })
  const stream = await opened(2)
  refuseWith(503)
  stream.destroy()
  await until(() => calls.length === 3, 'it comes back')
  other.abort()
  t.equal((await lost).code, 130)
})

t.test('what is no event is an error', async (t) => {
  const { cli, opened } = await streamFor(t)
  const running = cli(['events'])
  const stream = await opened(1)
  stream.write('data: not json\n\n')
  t.match(await running, { code: 6, stderr: /cli_answer_unreadable/ })
})
