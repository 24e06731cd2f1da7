/** The paths that an edge answers itself: they leave a log line and a usable connection like any other request. */

import t from 'tap'
import { edgeFor } from '../helpers/edge.ts'
import { originFor } from '../helpers/origin.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { until } from '../helpers/until.ts'

const HOST = 'app.localhost'

function ask(target: string, host = HOST): string {
  return `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`
}

t.test('answers the page of errors on every host, with a route or without', async (t) => {
  const edge = await edgeFor(t)
  for (const host of [HOST, 'nobody.localhost']) {
    const answer = await exchange(await edge.dialPlain(), ask('/.landfall/errors', host), isWhole)
    t.match(answer, {
      status: 200,
      headers: { 'content-type': 'text/html; charset=utf-8' },
      body: /route_unknown/,
    })
  }
})

t.test('writes a log line and counts it', async (t) => {
  const edge = await edgeFor(t)
  await exchange(await edge.dialPlain(), ask('/.landfall/errors'), isWhole)
  await until(() => edge.accessLog.length > 0, 'a log line', 2_000)
  t.match(edge.accessLog, [{ status: 200, request: { uri: '/.landfall/errors' } }])
})

t.test('goes on with the next request of the connection', async (t) => {
  const edge = await edgeFor(t)
  const origin = await originFor(t)
  await edge.route(HOST, origin.port)
  const socket = await edge.dialPlain()
  const isBoth = (text: string) => text.endsWith('hello')
  const { text } = await exchange(socket, ask('/.landfall/errors') + ask('/'), isBoth)
  t.match(text, /<\/html>[\s\S]*HTTP\/1\.1 200 OK[\s\S]*hello$/)
})
