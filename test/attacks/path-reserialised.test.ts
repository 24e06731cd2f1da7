/**
 * The attacker asks for `/public/../admin`. A proxy that parses the target as a URL and writes it again sends `/admin`:
 * what was checked is not what the VM serves. The VM must see the very bytes that the client sent.
 */

import t from 'tap'
import { h2Exchange } from '../helpers/h2-client.ts'
import { HOST, type RoutedEdge, routedEdgeFor, type Way } from '../helpers/routed-edge.ts'
import { type ScriptedVm, scriptedVmFor } from '../helpers/scripted-vm.ts'

const PATHS = [
  '/',
  '//',
  '///a//b',
  '//evil.test/x',
  '/public/../admin',
  '/..',
  '/../../etc/passwd',
  '/./a/.',
  '/a/%2e%2e/b',
  '/a/%2E%2E/b',
  '/a/.%2e/b',
  '/a\\..\\b',
  '/%2f%5c',
  '/%00',
  '/%',
  '/%zz',
  '/%u002e',
  '/%C3%A9',
  '/%c3%a9',
  '/a;b=c/d;e',
  '/a?b?c#'.slice(0, -1),
  '/?',
  '/a?',
  '/?a=1&a=2&&=&b',
  '/?redirect=http://[',
  '/a?b=c%23d',
  '/a+b?c+d',
  '/"<>^`{|}',
  "/!$&'()*,:@~-_.",
  '/http://other.test/',
  '/:80',
  '/*',
  '/a=%0d%0aX-Evil:1',
]

async function attackOver(way: Way | 'h2', edge: RoutedEdge, path: string, method = 'GET'): Promise<number> {
  if (way === 'h2') {
    const session = await edge.openH2()
    const answer = await h2Exchange(session, { ':method': method, ':path': path, ':authority': HOST })
    session.destroy()
    return answer.status
  }
  return (await edge.send(`${method} ${path} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`, way)).status
}

function lastLine(vm: ScriptedVm): string | undefined {
  return vm.requests.at(-1)?.head.split('\r\n')[0]
}

for (const way of ['plain', 'tls', 'h2'] as const) {
  t.test(`the VM sees the bytes of every path as they were sent over ${way}`, async (t) => {
    const vm = await scriptedVmFor(t)
    const edge = await routedEdgeFor(t, vm.port)
    for (const path of PATHS) {
      t.equal(await attackOver(way, edge, path), 200, path)
      t.equal(lastLine(vm), `GET ${path} HTTP/1.1`)
    }
    t.equal(vm.requests.length, PATHS.length)
  })

  t.test(`OPTIONS * stays OPTIONS * over ${way}`, async (t) => {
    const vm = await scriptedVmFor(t)
    const edge = await routedEdgeFor(t, vm.port)
    t.equal(await attackOver(way, edge, '*', 'OPTIONS'), 200)
    t.equal(lastLine(vm), 'OPTIONS * HTTP/1.1')
  })
}

/** RFC 9112 section 3.2.2: a server must take the absolute form; what goes on is the path in it. */
const ABSOLUTE = [
  { method: 'GET', target: `http://${HOST}/a/../b?c`, sent: '/a/../b?c' },
  { method: 'GET', target: `http://${HOST}`, sent: '/' },
  { method: 'GET', target: `http://${HOST}?a`, sent: '/?a' },
  { method: 'GET', target: `HTTP://${HOST.toUpperCase()}/a\\..\\b`, sent: '/a\\..\\b' },
  { method: 'GET', target: `http://${HOST}//x`, sent: '//x' },
  // RFC 9112 section 3.2.4: OPTIONS with an empty path means the server as a whole.
  { method: 'OPTIONS', target: `http://${HOST}`, sent: '*' },
  { method: 'OPTIONS', target: `http://${HOST}/`, sent: '/' },
]

for (const { method, target, sent } of ABSOLUTE) {
  t.test(`${method} ${target} goes on as ${sent}`, async (t) => {
    const vm = await scriptedVmFor(t)
    const edge = await routedEdgeFor(t, vm.port)
    t.equal(await attackOver('plain', edge, target, method), 200)
    t.equal(lastLine(vm), `${method} ${sent} HTTP/1.1`)
  })
}
