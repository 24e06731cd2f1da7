/**
 * The attacker may come in as himself, and sends the fields by which the edge tells a VM who somebody is, in every
 * spelling that some server reads as the same name: a naive proxy leaves them, and the VM takes him for its owner. He
 * sends our cookies in many spellings too, so that a VM that collects them could use them elsewhere. On every path the
 * VM must see what the edge says and nothing of the client's.
 */

import t, { type Test } from 'tap'
import { type GatedProxy, gatedProxyFor, HOST } from '../helpers/gated-proxy.ts'
import { h2Call, h2Exchange } from '../helpers/h2-client.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import {
  fieldLines,
  fieldOf,
  type ScriptedVm,
  scriptedVmFor,
  switchingProtocols,
  upgradeRequest,
  VM_OK,
} from '../helpers/scripted-vm.ts'
import { until } from '../helpers/until.ts'

/** Stands in every forged value, so that a leak is found wherever it ends up. */
const MARK = 'f0f96e0f'
const NAMES = [
  ...['X-Landfall-User', 'X-Landfall-Email', 'X-Landfall-Token-Ctx', 'X-Landfall-Assertion'],
  ...['X-Landfall-Authorization', 'X-Landfall-Not-Yet-Invented', 'X-Landfall-'],
]
const SPELLINGS: Readonly<Record<string, (name: string) => string>> = {
  usual: (name) => name,
  lower: (name) => name.toLowerCase(),
  upper: (name) => name.toUpperCase(),
  underscore: (name) => name.replaceAll('-', '_'),
  'lower underscore': (name) => name.replaceAll('-', '_').toLowerCase(),
  'first dash only': (name) => name.replace('-', '_'),
  'lower last dash only': (name) => name.replace(/-([^-]*)$/, '_$1').toLowerCase(),
  'lower dots': (name) => name.replaceAll('-', '.').toLowerCase(),
  'lower tildes': (name) => name.replaceAll('-', '~').toLowerCase(),
  'lower odd signs': (name) => name.replace('-', "'").replace('-', '|').toLowerCase(),
}
const COOKIE = `__Host-landfall=${MARK}; ok=1; __HOST-Landfall-session=${MARK};__host-landfall-flow=${MARK}`

/** The name by which the attacker comes in is not forged; all else is. */
const TRUE_NAME = 'x-landfall-authorization'

function forged(spelling: string): [string, string][] {
  const names = NAMES.map((name) => SPELLINGS[spelling]?.(name) ?? name)
  return names.filter((name) => name.toLowerCase() !== TRUE_NAME).map((name) => [name, MARK])
}

function lines(spelling: string): string {
  const own = `X-Landfall-Authorization: Bearer eve\r\nCookie: ${COOKIE}\r\n`
  return (
    own +
    forged(spelling)
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('')
  )
}

const fields = (spelling: string) => ({
  [TRUE_NAME]: 'Bearer eve',
  cookie: COOKIE,
  ...Object.fromEntries(forged(spelling)),
})

type Attack = (proxy: GatedProxy, spelling: string) => Promise<unknown>

const head = (method: string, spelling: string, more = '') =>
  `${method} / HTTP/1.1\r\nHost: ${HOST}\r\n${lines(spelling)}${more}\r\n`
const send = async (proxy: GatedProxy, text: string) => exchange(await proxy.dial(), text, isWhole)

const WAYS: Readonly<Record<string, Attack>> = {
  'a request': (proxy, spelling) => send(proxy, head('GET', spelling)),
  'the plain port': async (proxy, spelling) =>
    exchange(await proxy.dialPlain(), head('GET', spelling), isWhole),
  'HTTP/1.0': (proxy, spelling) => send(proxy, head('GET', spelling).replace('HTTP/1.1', 'HTTP/1.0')),
  'a body': (proxy, spelling) => send(proxy, `${head('POST', spelling, 'Content-Length: 2\r\n')}hi`),
  Expect: (proxy, spelling) => send(proxy, head('GET', spelling, 'Expect: 100-continue\r\n')),
  'another upgrade': (proxy, spelling) =>
    send(proxy, head('GET', spelling, 'Connection: Upgrade\r\nUpgrade: h2c\r\n')),
  'a Connection field that names the true ones': (proxy, spelling) =>
    send(proxy, head('GET', spelling, 'Connection: x-landfall-user, x-landfall-email\r\n')),
  'a WebSocket': async (proxy, spelling) => (await proxy.dial()).write(upgradeRequest(HOST, lines(spelling))),
  'HTTP/2': async (proxy, spelling) => h2Exchange(await proxy.h2(), { ':path': '/', ...fields(spelling) }),
  'a WebSocket over HTTP/2': async (proxy, spelling) => {
    const extended = { ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'https', ':path': '/' }
    const request = { ...extended, ':authority': HOST, 'sec-websocket-version': '13', ...fields(spelling) }
    h2Call(await proxy.h2(), request, { hasBody: true })
  },
}

async function sceneFor(t: Test) {
  const vm = await scriptedVmFor(t, (socket, { head }) => {
    socket.write(fieldOf(head, 'sec-websocket-version') === undefined ? VM_OK : switchingProtocols(head))
  })
  const proxy = await gatedProxyFor(t, { upstream: vm.port, guests: ['eve'] })
  proxy.gate.lines = (name) => `X-Landfall-User: ${name}\r\nX-Landfall-Email: ${name}@example.test\r\n`
  return { vm, proxy }
}

const TRUTH = [
  ['X-Landfall-User', 'eve'],
  ['X-Landfall-Email', 'eve@example.test'],
]

for (const [way, attack] of Object.entries(WAYS)) {
  t.test(`nobody is somebody else through ${way}`, async (t) => {
    const { vm, proxy } = await sceneFor(t)
    // HTTP/2 has lower-case names only.
    const spellings = Object.keys(SPELLINGS).filter(
      (name) => !way.includes('HTTP/2') || name.includes('lower'),
    )
    for (const [at, spelling] of spellings.entries()) {
      await attack(proxy, spelling)
      await until(() => vm.requests.length > at, `the VM sees ${way} in ${spelling} spelling`)
      checkTruth(t, vm, spelling)
    }
  })
}

function checkTruth(t: Test, vm: ScriptedVm, spelling: string): void {
  const head = vm.requests.at(-1)?.head ?? ''
  t.notMatch(head, MARK, spelling)
  t.same(
    fieldLines(head).filter(([name]) => /landfall/i.test(name)),
    TRUTH,
    spelling,
  )
  t.equal(fieldOf(head, 'cookie'), 'ok=1')
}

t.test('nobody is somebody else through trailers', async (t) => {
  const { vm, proxy } = await sceneFor(t)
  for (const spelling of Object.keys(SPELLINGS)) {
    const more = 'Transfer-Encoding: chunked\r\nTrailer: X-Landfall-User\r\n'
    await send(
      proxy,
      `${head('POST', spelling, more)}2\r\nhi\r\n0\r\n${lines(spelling)}DPoP: ${MARK}\r\nX-Check: 1\r\n\r\n`,
    )
    const body = vm.requests.at(-1)?.body ?? ''
    t.match(body, /x-check: 1/i, 'an honest trailer passes')
    t.notMatch(body, new RegExp(`${MARK}|landfall`, 'i'), spelling)
  }
})

t.test('a CONNECT carries none of it into the tunnel', async (t) => {
  const { vm, proxy } = await sceneFor(t)
  const socket = await proxy.dial()
  socket.write(`CONNECT ${HOST}:22 HTTP/1.1\r\nHost: ${HOST}:22\r\n${lines('usual')}\r\nbytes`)
  await until(() => vm.received[0] === 'bytes', 'the VM gets the bytes and nothing else')
})
