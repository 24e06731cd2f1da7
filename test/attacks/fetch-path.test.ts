/**
 * http-proxy-3 can relay with `fetch`, also by an environment variable. That path keeps one Set-Cookie of several, decodes
 * bodies but not their headers, writes Host anew, and follows redirects itself: a tenant makes the edge fetch what only
 * the edge can reach. Whatever the environment says, nothing of that may happen here.
 */

import { gunzipSync, gzipSync } from 'node:zlib'
import t from 'tap'
import { h2Call, h2Exchange } from '../helpers/h2-client.ts'
import { originFor } from '../helpers/origin.ts'
import { HOST, routedEdgeFor } from '../helpers/routed-edge.ts'
import { scriptedVmFor } from '../helpers/scripted-vm.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'

const COOKIES = ['a=1; Path=/', 'b=2; Expires=Wed, 01 Jul 2026 00:00:00 GMT', 'c=3']
const PAGE = 'hello '.repeat(1_000)
const GET = `GET / HTTP/1.1\r\nHost: ${HOST}\r\nAccept-Encoding: gzip\r\n\r\n`

const ENVIRONMENTS = [undefined, 'true']

for (const value of ENVIRONMENTS) {
  t.test(`with FORCE_FETCH_PATH=${value}`, async (t) => {
    setVariable(value)
    t.teardown(() => setVariable(undefined))

    t.test('every Set-Cookie reaches the client, in order', async (t) => {
      const lines = COOKIES.map((cookie) => `Set-Cookie: ${cookie}\r\n`).join('')
      const vm = await scriptedVmFor(t, `HTTP/1.1 200 OK\r\n${lines}Content-Length: 2\r\n\r\nok`)
      const edge = await routedEdgeFor(t, vm.port)
      const { text } = await edge.send(GET)
      t.same(
        [...text.matchAll(/^set-cookie: (.*)\r$/gim)].map(([, cookie]) => cookie),
        COOKIES,
      )
      const { stream, closed } = h2Call(await edge.openH2(), { ':path': '/', ':authority': HOST })
      const cookies = new Promise((resolve) => {
        stream.once('response', (head) => resolve(head['set-cookie']))
      })
      t.same(await cookies, COOKIES)
      await closed
    })

    t.test('a compressed body passes as it is', async (t) => {
      const zipped = gzipSync(PAGE)
      const origin = await originFor(t, (_request, response) => {
        response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': zipped.length }).end(zipped)
      })
      const edge = await routedEdgeFor(t, origin.port)
      const answer = await edge.send(GET)
      t.match(answer.headers, { 'content-encoding': 'gzip', 'content-length': String(zipped.length) })
      t.same(Buffer.from(answer.body, 'latin1'), zipped)
      const overH2 = await h2Exchange(await edge.openH2(), { ':path': '/', ':authority': HOST })
      t.equal(gunzipSync(Buffer.from(overH2.body, 'latin1')).toString(), PAGE)
    })

    t.test('a redirect goes to the client and nowhere else', async (t) => {
      const secret = await scriptedVmFor(t)
      const redirect = `HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:${secret.port}/\r\nContent-Length: 0\r\n\r\n`
      const vm = await scriptedVmFor(t, redirect)
      const edge = await routedEdgeFor(t, vm.port)
      t.match(await edge.send(GET), {
        status: 302,
        headers: { location: `http://127.0.0.1:${secret.port}/` },
      })
      t.equal(vm.requests.length, 1)
      t.same(secret.received, [], 'nobody called there')
    })

    t.test('the Host of the client reaches the VM', async (t) => {
      const origin = await originFor(t)
      const edge = await routedEdgeFor(t, origin.port)
      await edge.send(`GET / HTTP/1.1\r\nHost: ${HOST}:8443\r\n\r\n`, 'tls')
      await h2Exchange(await edge.openH2(), { ':path': '/', ':authority': `${HOST}:8443` })
      t.same(
        origin.requests.map(({ headers }) => headers.host),
        [`${HOST}:8443`, `${HOST}:8443`],
      )
    })

    t.test('Expect: 100-continue works', async (t) => {
      const origin = await originFor(t, (request, response) => {
        request.on('data', (chunk) => response.end(chunk))
      })
      const edge = await routedEdgeFor(t, origin.port)
      const socket = await edge.open('plain')
      const got = transcriptOf(socket)
      socket.write(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`)
      await got.has('HTTP/1.1 100 Continue\r\n\r\n')
      socket.write('hello')
      await got.has('hello')
      t.match(got.text, /HTTP\/1\.1 200 OK/)
    })

    t.test('a client that leaves ends the request at the VM', async (t) => {
      const vm = await scriptedVmFor(t, () => {})
      const edge = await routedEdgeFor(t, vm.port)
      const socket = await edge.open('plain')
      socket.write(GET)
      await until(() => vm.requests.length === 1, 'the VM sees the request')
      socket.destroy()
      await until(() => vm.sockets[0]?.readableEnded === true, "the VM's connection is closed", 2_000)
      t.pass('closed')
    })
  })
}

function setVariable(value: string | undefined): void {
  if (value === undefined) delete process.env.FORCE_FETCH_PATH
  else process.env.FORCE_FETCH_PATH = value
}
