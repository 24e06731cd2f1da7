/**
 * The attacker names one host in the request target and another in the Host field, or sends a target that is no URL.
 * RFC 9112 section 3.2.2 lets the target win, Node's parser looks at Host only, http-proxy-3 throws on some of them
 * and takes the process down (defect 6). Each is refused with 400, the VM sees nothing and the edge lives.
 */

import t from 'tap'
import { APP, attackedEdgeFor, refuses, requestLinesIn } from '../helpers/attacked-edge.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'

const DISAGREEING: readonly (readonly [string, string, string])[] = [
  ['another name in the target', 'http://other.localhost/evil', APP],
  ['another name in Host', `http://${APP}/evil`, 'other.localhost'],
  ['a port in the target only', `http://${APP}:8080/evil`, APP],
  ['a port in Host only', `http://${APP}/evil`, `${APP}:8080`],
  ['two ports', `http://${APP}:8080/evil`, `${APP}:8081`],
  ['user info in the target', `http://x@${APP}/evil`, APP],
  ['user info that looks like the host', `http://${APP}@other.localhost/evil`, APP],
  ['user info with a port', `http://${APP}:80@other.localhost/evil`, APP],
  ['a backslash behind the host', `http://${APP}\\@other.localhost/evil`, APP],
  ['a prefix of the host', `http://${APP}.other.localhost/evil`, APP],
  ['an empty host', 'http:///evil', APP],
  ['an empty host before a query', 'http://?evil', APP],
  ['a good target beside an empty Host', `http://${APP}/evil`, ''],
]

const INVALID: readonly (readonly [string, string])[] = [
  ['an open bracket', 'http://['],
  ['an open bracket and a path', 'http://[/evil'],
  ['a port above 65535', `http://${APP}:99999/evil`],
  ['a port with a letter', `http://${APP}:8o/evil`],
  ['a fragment in absolute form', `http://${APP}/evil#x`],
  ['another scheme', `ftp://${APP}/evil`],
  ['a WebSocket scheme', `ws://${APP}/evil`],
  ['a file', 'file:///etc/passwd'],
  ['no slash in front', 'evil'],
  ['a query in front', '?evil'],
  ['only a host', APP],
  ['a host and port, as for CONNECT', `${APP}:80`],
  ['an asterisk for GET', '*'],
  ['an asterisk with a path', '*/evil'],
  ['one slash behind the scheme', `http:/${APP}/evil`],
  ['no slash behind the scheme', `http:${APP}/evil`],
  ['javascript', 'javascript:alert(1)'],
  ['a backslash in front', '\\evil'],
]

t.test('refuses an absolute target that disagrees with Host', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const [what, target, host] of DISAGREEING) {
    await t.test(what, (t) =>
      refuses(t, edge, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`, { status: 400 }),
    )
  }
})

t.test('refuses a target that is no path and no URL of http', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const [what, target] of INVALID) {
    await t.test(what, (t) =>
      refuses(t, edge, `GET ${target} HTTP/1.1\r\nHost: ${APP}\r\n\r\n`, { status: 400 }),
    )
  }
})

t.test('sends an agreeing absolute target on as a path', async (t) => {
  const edge = await attackedEdgeFor(t)
  const cases = [
    [`http://${APP}/good?x=1`, APP, 'GET /good?x=1 HTTP/1.1'],
    [`HTTP://APP.localhost/good`, APP, 'GET /good HTTP/1.1'],
    [`http://${APP}./good`, APP, 'GET /good HTTP/1.1'],
    [`http://${APP}:8080/good`, `${APP}:8080`, 'GET /good HTTP/1.1'],
    [`http://${APP}`, APP, 'GET / HTTP/1.1'],
    [`http://${APP}?x=1`, APP, 'GET /?x=1 HTTP/1.1'],
    [`http://${APP}//other.localhost/x`, APP, 'GET //other.localhost/x HTTP/1.1'],
  ] as const
  for (const [target, host, line] of cases) {
    const request = `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`
    t.equal((await exchange(await edge.dialPlain(), request, isWhole)).status, 200, target)
    t.equal(edge.requestLines().at(-1), line)
  }
})

// Defect 9: a WHATWG URL turns each of these into another path, so that a check and the VM would see two.
t.test('sends a path on exactly as it came', async (t) => {
  const edge = await attackedEdgeFor(t)
  const paths = [
    '/public/../admin',
    '/a/%2e%2e/b',
    '/a\\..\\b',
    '//x//y',
    '/a;b/./c',
    '/%',
    '/?a=b?c',
    '/a%00b',
    '/*',
  ]
  for (const path of paths) {
    const request = `GET ${path} HTTP/1.1\r\nHost: ${APP}\r\n\r\n`
    t.equal((await exchange(await edge.dialPlain(), request, isWhole)).status, 200, path)
    t.equal(edge.requestLines().at(-1), `GET ${path} HTTP/1.1`)
  }
})

t.test('tells the VM the host that was checked, in one Host field', async (t) => {
  const edge = await attackedEdgeFor(t)
  const request = `GET http://${APP}:8080/good HTTP/1.1\r\nX-A: b\r\nHost: ${APP}:8080\r\n\r\n`
  await exchange(await edge.dialPlain(), request, isWhole)
  const head = edge.vm.received.at(-1) ?? ''
  t.same(requestLinesIn(head), ['GET /good HTTP/1.1'])
  t.same(head.match(/^host: .*$/gim), [`host: ${APP}:8080`])
})
