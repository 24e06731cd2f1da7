/** What passes the gate, on every path: what a VM is told of who it is, what it never gets, and that strangers change nothing. */

import t, { type Test } from 'tap'
import { AuthError } from '../../auth/errors.ts'
import { type GatedProxy, type GatedSettings, gatedProxyFor, HOST } from '../helpers/gated-proxy.ts'
import { h2Call, h2Exchange } from '../helpers/h2-client.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { TAKEN } from '../helpers/scripted-gate.ts'
import {
  fieldLines,
  fieldOf,
  scriptedVmFor,
  switchingProtocols,
  upgradeRequest,
  VM_OK,
} from '../helpers/scripted-vm.ts'
import { transcriptOf } from '../helpers/transcript.ts'
import { until } from '../helpers/until.ts'

const OWN = 'X-Landfall-Authorization: Bearer ada\r\n'
const CREDENTIALS = `${OWN}Authorization: Bearer theirs\r\nAuthorization: Basic two\r\nDPoP: proof\r\nCookie: a=1; __Host-landfall=secret; b="2"\r\n`
const CREDENTIALS_H2 = {
  'x-landfall-authorization': 'Bearer ada',
  authorization: 'Bearer theirs',
  dpop: 'proof',
  cookie: ['a=1', '__Host-landfall-flow=secret', 'b="2"'],
}

async function sceneFor(t: Test, settings: Partial<GatedSettings> = {}) {
  const vm = await scriptedVmFor(t, (socket, { head }) => {
    socket.write(fieldOf(head, 'sec-websocket-version') === undefined ? VM_OK : switchingProtocols(head))
  })
  return { vm, proxy: await gatedProxyFor(t, { upstream: vm.port, ...settings }) }
}

type Way = (proxy: GatedProxy) => Promise<unknown>

const request = (method: string, more = '') =>
  `${method} / HTTP/1.1\r\nHost: ${HOST}\r\n${CREDENTIALS}${more}`
const send = async (proxy: GatedProxy, text: string) => exchange(await proxy.dial(), text, isWhole)

const WAYS: Readonly<Record<string, Way>> = {
  'a request': (proxy) => send(proxy, request('GET', '\r\n')),
  'a request on the plain port': async (proxy) =>
    exchange(await proxy.dialPlain(), request('GET', '\r\n'), isWhole),
  'a body that waits for 100': (proxy) =>
    send(proxy, request('PUT', 'Expect: 100-continue\r\nContent-Length: 0\r\n\r\n')),
  'a WebSocket': async (proxy) => (await proxy.dial()).write(upgradeRequest(HOST, CREDENTIALS)),
  'HTTP/2': async (proxy) => h2Exchange(await proxy.h2(), { ':path': '/', ...CREDENTIALS_H2 }),
  'a WebSocket over HTTP/2': async (proxy) => {
    const extended = { ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'https', ':path': '/' }
    const fields = { ...extended, ':authority': HOST, 'sec-websocket-version': '13', ...CREDENTIALS_H2 }
    h2Call(await proxy.h2(), fields, { hasBody: true })
  },
}

for (const [name, way] of Object.entries(WAYS)) {
  t.test(`${name}: the VM is told who it is, and keeps what was not for the edge`, async (t) => {
    const { vm, proxy } = await sceneFor(t)
    await way(proxy)
    await until(() => vm.requests.length === 1, 'the VM sees it')
    const head = vm.requests[0]?.head ?? ''
    t.equal(fieldOf(head, 'x-landfall-user'), 'ada')
    t.match(fieldOf(head, 'authorization'), /^Bearer theirs/)
    t.equal(fieldOf(head, 'dpop'), 'proof')
    t.equal(fieldOf(head, 'cookie'), 'a=1; b="2"')
    t.same(
      fieldLines(head).filter(([key]) => /landfall/i.test(key)),
      [['X-Landfall-User', 'ada']],
    )
  })

  t.test(`${name}: what the edge took is gone, all copies of it`, async (t) => {
    const { vm, proxy } = await sceneFor(t)
    proxy.gate.takes = TAKEN
    await way(proxy)
    await until(() => vm.requests.length === 1, 'the VM sees it')
    const head = vm.requests[0]?.head ?? ''
    t.equal(fieldOf(head, 'authorization'), undefined)
    t.equal(fieldOf(head, 'dpop'), undefined)
    t.equal(fieldOf(head, 'x-landfall-user'), 'ada')
  })

  t.test(`${name}: who may not wakes nothing, learns nothing and reaches nothing`, async (t) => {
    const { vm, proxy } = await sceneFor(t, { guests: [], row: { state: 'asleep' } })
    const answers: string[] = []
    for (const state of ['asleep', 'stopped', 'running']) {
      proxy.setRow({ state })
      await way(proxy)
      await until(() => proxy.accessLog.length > answers.length, 'it is over')
      answers.push(String(proxy.accessLog.at(-1)?.status))
    }
    t.same(answers, ['401', '401', '401'])
    t.same(proxy.woken, [])
    t.same(vm.sockets, [])
  })
}

t.test("copies of Authorization that are the app's own go on in their order", async (t) => {
  const { vm, proxy } = await sceneFor(t)
  await send(proxy, request('GET', '\r\n'))
  t.equal(fieldOf(vm.requests[0]?.head ?? '', 'authorization'), 'Bearer theirs, Basic two')
})

t.test('what Connection names is for this hop, and no way to take identity away', async (t) => {
  const { vm, proxy } = await sceneFor(t)
  await send(
    proxy,
    request(
      'GET',
      'Connection: authorization, dpop, x-landfall-authorization, x-landfall-user, cookie\r\n\r\n',
    ),
  )
  const head = vm.requests[0]?.head ?? ''
  t.equal(fieldOf(head, 'authorization'), undefined)
  t.equal(fieldOf(head, 'dpop'), undefined)
  t.equal(fieldOf(head, 'cookie'), undefined)
  t.equal(fieldOf(head, 'x-landfall-user'), 'ada')
})

t.test('a credential that is not known yet holds the request, and only that one', async (t) => {
  const { vm, proxy } = await sceneFor(t)
  const known = Promise.withResolvers<void>()
  proxy.gate.unknown.set('ada', known)
  const session = await proxy.h2()
  const waiting = h2Exchange(session, { ':path': '/', 'x-landfall-authorization': 'Bearer ada' })
  await until(() => proxy.gate.decided.length === 1, 'the gate is asked')
  t.same(await proxy.metric('edge_auth_decision_holds'), ['edge_auth_decision_holds 1'])
  t.match(await h2Exchange(session, { ':path': '/' }), { status: 401 }, 'a stranger does not wait')
  t.same(vm.requests, [])
  known.resolve()
  t.match(await waiting, { status: 200 })
  t.same(await proxy.metric('edge_auth_decision_holds'), ['edge_auth_decision_holds 0'])
})

t.test('a client that leaves while it is decided does not come through afterwards', async (t) => {
  const { vm, proxy } = await sceneFor(t)
  const known = Promise.withResolvers<void>()
  proxy.gate.unknown.set('ada', known)
  const socket = await proxy.dial()
  socket.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\n${OWN}\r\n`)
  await until(() => proxy.gate.decided.length === 1, 'the gate is asked')
  socket.destroy()
  await until(() => proxy.accessLog.length === 1, 'it is over')
  known.resolve()
  t.match(await send(proxy, `GET / HTTP/1.1\r\nHost: ${HOST}\r\n${OWN}\r\n`), { status: 200 })
  t.match(proxy.accessLog[0], { close_reason: 'client_gone', status: 0 })
  t.equal(vm.requests.length, 1)
})

t.test('a row that changes while it is decided is asked about anew', async (t) => {
  const { vm, proxy } = await sceneFor(t)
  const known = Promise.withResolvers<void>()
  proxy.gate.unknown.set('ada', known)
  const answer = send(proxy, `GET / HTTP/1.1\r\nHost: ${HOST}\r\n${OWN}\r\n`)
  await until(() => proxy.gate.decided.length === 1, 'the gate is asked')
  proxy.setRow(undefined)
  known.resolve()
  t.match(await answer, { status: 404 })
  t.same(vm.sockets, [])
})

t.test('what was decided counts only if it still does when the request goes on', async (t) => {
  const { vm, proxy } = await sceneFor(t)
  const known = Promise.withResolvers<void>()
  proxy.gate.unknown.set('ada', known)
  const answer = send(proxy, `GET / HTTP/1.1\r\nHost: ${HOST}\r\n${OWN}\r\n`)
  await until(() => proxy.gate.decided.length === 1, 'the gate is asked')
  proxy.gate.recheck = () => {
    throw new AuthError('auth_required', 'revoked')
  }
  known.resolve()
  t.match(await answer, { status: 401 })
  t.same(vm.sockets, [])
})

t.test(
  'a row that changes while it is decided, but leads to the same place, keeps the decision',
  async (t) => {
    const { proxy } = await sceneFor(t)
    const known = Promise.withResolvers<void>()
    proxy.gate.unknown.set('ada', known)
    const answer = send(proxy, `GET / HTTP/1.1\r\nHost: ${HOST}\r\n${OWN}\r\n`)
    await until(() => proxy.gate.decided.length === 1, 'the gate is asked')
    proxy.setRow({ generation: 2 })
    known.resolve()
    t.match(await answer, { status: 200 })
    t.equal(proxy.gate.decided.length, 1)
  },
)

t.test('a row that leads elsewhere by then is decided anew', async (t) => {
  for (const row of [{ vm: 'other' }, { port: 3000 }]) {
    const { proxy } = await sceneFor(t)
    const known = Promise.withResolvers<void>()
    proxy.gate.unknown.set('ada', known)
    const answer = send(proxy, `GET / HTTP/1.1\r\nHost: ${HOST}\r\n${OWN}\r\n`)
    await until(() => proxy.gate.decided.length === 1, 'the gate is asked')
    proxy.setRow(row)
    proxy.gate.find = () => {
      throw new AuthError('auth_forbidden', 'not there')
    }
    known.resolve()
    t.match(await answer, { status: 403 })
  }
})

t.test('a proof counts once, so after its VM woke a request with one is not decided anew', async (t) => {
  for (const [proof, found] of [
    ['', 2],
    ['DPoP: x\r\n', 1],
  ] as const) {
    const { proxy } = await sceneFor(t, { row: { state: 'asleep' } })
    const { gate } = proxy
    const find = gate.find.bind(gate)
    let count = 0
    gate.find = (...asked) => {
      count += 1
      return find(...asked)
    }
    const answer = send(proxy, `GET / HTTP/1.1\r\nHost: ${HOST}\r\n${OWN}${proof}\r\n`)
    await until(() => proxy.woken.length === 1, 'the VM is called')
    proxy.setRow({ state: 'running' })
    t.match(await answer, { status: 200 })
    t.equal(count, found)
    if (found === 1) t.ok(gate.rechecked.length > 0, 'it is looked at again')
  }
})

t.test('after its VM woke, a request is looked at again', async (t) => {
  const { vm, proxy } = await sceneFor(t, { row: { state: 'asleep' } })
  const answer = send(proxy, `GET / HTTP/1.1\r\nHost: ${HOST}\r\n${OWN}\r\n`)
  await until(() => proxy.woken.length === 1, 'the VM is called')
  proxy.gate.guests.clear()
  proxy.setRow({ state: 'running' })
  t.match(await answer, { status: 401 })
  t.same(vm.sockets, [])
})

t.test('CONNECT asks the gate as everything else', async (t) => {
  const { vm, proxy } = await sceneFor(t)
  const connect = (fields: string) => `CONNECT ${HOST}:22 HTTP/1.1\r\nHost: ${HOST}:22\r\n${fields}\r\n`
  t.match(await send(proxy, connect('')), { status: 401 })
  t.same(vm.sockets, [])
  const socket = await proxy.dial()
  const heard = transcriptOf(socket)
  socket.write(connect(CREDENTIALS))
  await heard.has('200 Connection Established')
  socket.write('bytes')
  await until(() => vm.received[0] === 'bytes', 'the VM gets the bytes and nothing else')
})

t.test('a browser that comes to a private page is sent to the login, and back', async (t) => {
  const { proxy } = await sceneFor(t)
  const navigate = 'Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nAccept: text/html\r\n'
  const answer = await send(proxy, `GET /a%20b?c=d&e HTTP/1.1\r\nHost: ${HOST}\r\n${navigate}\r\n`)
  t.match(answer, {
    status: 303,
    headers: {
      location: '/.landfall/login?to=%2Fa%2520b%3Fc%3Dd%26e',
      'cache-control': 'no-store',
      vary: 'cookie',
      'proxy-status': /auth_required/,
    },
  })
  t.match(proxy.accessLog[0], { status: 303, error_code: 'auth_required', auth_reason: 'nothing' })
})

t.test('decisions are counted by result', async (t) => {
  const { proxy } = await sceneFor(t, { row: { visibility: 'public' } })
  await send(proxy, `GET / HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
  await send(proxy, `GET / HTTP/1.1\r\nHost: ${HOST}\r\n${OWN}\r\n`)
  proxy.gate.guests.clear()
  await send(proxy, `GET / HTTP/1.1\r\nHost: ${HOST}\r\n${OWN}\r\n`)
  t.same((await proxy.metric('edge_auth_decisions_total')).sort(), [
    'edge_auth_decisions_total{result="passed",reason="none"} 1',
    'edge_auth_decisions_total{result="passed",reason="token"} 1',
    'edge_auth_decisions_total{result="refused",reason="not-a-guest"} 1',
  ])
  t.same(await proxy.metric('edge_revocation_age_seconds'), ['edge_revocation_age_seconds 2.5'])
  t.same(proxy.errors, [])
})
