/** Our own pages on every host: relayed to our own service as the client sent it, whatever the VM is; nothing else comes there. */

import { createServer, type IncomingMessage } from 'node:http'
import { type Duplex, duplexPair } from 'node:stream'
import t, { type Test } from 'tap'
import type { RelayRoute } from '../../proxy/upstream.ts'
import { type GatedProxy, type GatedSettings, gatedProxyFor, HOST } from '../helpers/gated-proxy.ts'
import { h2Exchange } from '../helpers/h2-client.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { scriptedVmFor } from '../helpers/scripted-vm.ts'

const OWN = 'X-Landfall-Authorization: Bearer ada\r\n'
const CREDENTIALS = `${OWN}Authorization: Bearer theirs\r\nDPoP: proof\r\nCookie: a=1; __Host-landfall=secret; b="2"\r\n`
const CREDENTIALS_H2 = {
  'x-landfall-authorization': 'Bearer ada',
  cookie: ['a=1', '__Host-landfall-flow=secret', 'b="2"'],
}

async function sceneFor(t: Test, settings: Partial<GatedSettings> = {}) {
  const vm = await scriptedVmFor(t)
  const own = ownPagesFor(t)
  return { vm, own, proxy: await gatedProxyFor(t, { upstream: vm.port, ownPages: own.route, ...settings }) }
}

const send = async (proxy: GatedProxy, text: string) => exchange(await proxy.dial(), text, isWhole)

/** Our own service: notes what it is asked, on a pipe as in the edge. */
function ownPagesFor(t: Test) {
  const requests: IncomingMessage[] = []
  const server = createServer((request, response) => {
    requests.push(request)
    request.resume()
    response.end('ours')
  })
  t.teardown(() => server.closeAllConnections())
  const dial = (): Duplex => {
    const [ours, theirs] = duplexPair()
    server.emit('connection', ours)
    return theirs
  }
  const route: RelayRoute = {
    hostname: 'auth.localhost',
    visibility: 'public',
    state: 'running',
    generation: 0,
    isOwn: true,
    dial,
  }
  return { requests, route }
}

t.test('our own pages are there for everybody, on a host whose VM sleeps and is private', async (t) => {
  const { vm, own, proxy } = await sceneFor(t, { row: { state: 'asleep' }, guests: [] })
  for (const path of ['/.landfall/login?to=%2F', '/.well-known/landfall/jwks.json']) {
    const answer = await send(
      proxy,
      `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\n${CREDENTIALS}Origin: https://x\r\n\r\n`,
    )
    t.match(answer, { status: 200, body: 'ours' }, path)
    t.match(own.requests.at(-1), {
      url: path,
      headers: {
        host: HOST,
        cookie: 'a=1; __Host-landfall=secret; b="2"',
        authorization: 'Bearer theirs',
        dpop: 'proof',
        'x-landfall-authorization': 'Bearer ada',
        origin: 'https://x',
      },
    })
  }
  t.match(await h2Exchange(await proxy.h2(), { ':path': '/.landfall/whoami', ...CREDENTIALS_H2 }), {
    body: 'ours',
  })
  t.match(own.requests.at(-1)?.headers, { cookie: 'a=1; __Host-landfall-flow=secret; b="2"' })
  t.same(proxy.woken, [])
  t.same(vm.sockets, [])
})

t.test('copies of our own field reach our own pages all, forged identity does not', async (t) => {
  const { own, proxy } = await sceneFor(t)
  await send(
    proxy,
    `GET /.landfall/whoami HTTP/1.1\r\nHost: ${HOST}\r\n${OWN}${OWN.toLowerCase()}X-Landfall-User: root\r\nx_landfall_authorization: x\r\n\r\n`,
  )
  const ours = (own.requests[0]?.rawHeaders ?? []).filter((name, at, all) =>
    /landfall/i.test(all[at - (at % 2)] ?? name),
  )
  t.same(ours, ['x-landfall-authorization', 'Bearer ada', 'x-landfall-authorization', 'bearer ada'])
})

t.test('what only looks like our own pages is for the gate, and then for the VM', async (t) => {
  const { vm, own, proxy } = await sceneFor(t)
  const targets = [
    '/.landfall',
    '/.landfallen/x',
    '//.landfall/login',
    '/.LANDFALL/login',
    '/%2elandfall/login',
    '/./.landfall/x',
    '/x/.landfall/login',
    '/.well-known/acme',
  ]
  for (const target of targets) {
    t.match(await send(proxy, `GET ${target} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`), { status: 401 }, target)
    t.match(
      await send(proxy, `GET ${target} HTTP/1.1\r\nHost: ${HOST}\r\n${OWN}\r\n`),
      { status: 200 },
      target,
    )
  }
  t.equal(vm.requests.length, targets.length)
  t.same(own.requests, [])
})

t.test('a name that nobody has has no pages of ours, and the page of errors is everywhere', async (t) => {
  const { own, proxy } = await sceneFor(t)
  const plain = async (host: string, path: string) =>
    exchange(await proxy.dialPlain(), `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`, isWhole)
  t.match(await plain('nobody.localhost', '/.landfall/login'), { status: 404 })
  t.match(await plain(HOST, '/.landfall/errors'), { status: 200, headers: { 'content-type': /html/ } })
  t.same(own.requests, [])
})
