/**
 * The attacker uses a method that a proxy treats apart: CONNECT on the plain port to turn the edge into an open tunnel,
 * TRACE to make the VM echo identity fields, an upgrade with a body so that the body is read as frames or as the next
 * request. CONNECT there and TRACE end with 405 at the edge, broken upgrades with 400; the VM never hears of them.
 * CONNECT over TLS has files of its own: open-proxy.test.ts and bytes-behind-a-connect.test.ts.
 */

import t from 'tap'
import { APP, attackedEdgeFor, codeOf, refuses, servesOnlyTheNext } from '../helpers/attacked-edge.ts'
import { h2Exchange } from '../helpers/h2-client.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'
import { upgradeRequest } from '../helpers/scripted-vm.ts'

const SMUGGLED = `GET /smuggled HTTP/1.1\r\nHost: ${APP}\r\n\r\n`

t.test(
  'answers CONNECT on the plain port with 405, opens no tunnel and reads no byte behind it',
  async (t) => {
    const edge = await attackedEdgeFor(t)
    const targets = [
      `${APP}:80`,
      `127.0.0.1:${edge.vm.port}`,
      `[::1]:${edge.vm.port}`,
      APP,
      '/evil',
      `http://${APP}/`,
    ]
    for (const target of targets) {
      await t.test(target, (t) =>
        refuses(t, edge, `CONNECT ${target} HTTP/1.1\r\nHost: ${APP}\r\n\r\n${SMUGGLED}`, {
          status: target.includes('/') ? [400, 405] : 405,
        }),
      )
    }
    t.equal(edge.vm.sockets.length, 1, 'the VM was only dialled for the good requests')
  },
)

t.test('answers CONNECT with 405 before it looks at Host', async (t) => {
  const edge = await attackedEdgeFor(t)
  await refuses(t, edge, `CONNECT ${APP}:443 HTTP/1.1\r\nHost: ${APP}:443\r\n\r\n`, {
    status: 405,
    code: 'request_method',
  })
})

t.test('answers TRACE with 405, with and without Max-Forwards', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const extra of ['', 'Max-Forwards: 0\r\n', 'Cookie: secret=1\r\n']) {
    const request = `TRACE /evil HTTP/1.1\r\nHost: ${APP}\r\n${extra}\r\n`
    const answer = await exchange(await edge.dialPlain(), request, isWhole)
    t.match({ status: answer.status, code: codeOf(answer) }, { status: 405, code: 'request_method' })
    t.notMatch(answer.text, /secret/, 'nothing is echoed')
    await servesOnlyTheNext(t, edge, edge.requestLines().length)
  }
})

t.test('answers TRACE over HTTP/2 with 405', async (t) => {
  const edge = await attackedEdgeFor(t)
  const session = await edge.h2(APP)
  t.match(await h2Exchange(session, { ':method': 'TRACE', ':path': '/evil' }), { status: 405 })
  t.same(edge.requestLines(), [])
  t.match(await h2Exchange(session, { ':path': '/good' }), { status: 200, body: 'ok' })
})

// RFC 9110 section 15.5.6: a 405 lists what would be taken.
t.test('says in Allow which methods are taken, without TRACE and CONNECT', async (t) => {
  const edge = await attackedEdgeFor(t)
  const answer = await exchange(await edge.dialPlain(), `TRACE / HTTP/1.1\r\nHost: ${APP}\r\n\r\n`, isWhole)
  const allowed = (answer.headers.allow ?? '').split(',').map((method) => method.trim())
  t.ok(allowed.includes('GET') && allowed.includes('POST'), `Allow: ${answer.headers.allow}`)
  t.notOk(allowed.includes('TRACE') || allowed.includes('CONNECT'))
})

const BROKEN_UPGRADES: readonly (readonly [string, string])[] = [
  ['Content-Length', `${upgradeRequest(APP, 'Content-Length: 5\r\n', '/evil')}hello`],
  [
    'a hidden request as its body',
    `${upgradeRequest(APP, `Content-Length: ${SMUGGLED.length}\r\n`)}${SMUGGLED}`,
  ],
  ['chunked', `${upgradeRequest(APP, 'Transfer-Encoding: chunked\r\n', '/evil')}0\r\n\r\n${SMUGGLED}`],
  ['both lengths', `${upgradeRequest(APP, 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n')}hello`],
  ['Host twice', upgradeRequest(APP, `Host: ${APP}\r\n`, '/evil')],
  ['no Host', upgradeRequest(APP, '', '/evil').replace(`Host: ${APP}\r\n`, '')],
  ['a target that disagrees with Host', upgradeRequest(APP, '', 'http://other.localhost/evil')],
  ['a control character', upgradeRequest(APP, 'X-A: b\x01c\r\n', '/evil')],
  ['HTTP/1.0', upgradeRequest(APP, '', '/evil').replace('HTTP/1.1', 'HTTP/1.0')],
  ['POST', upgradeRequest(APP, '', '/evil').replace('GET', 'POST')],
  ['version 12', upgradeRequest(APP, '', '/evil').replace('Version: 13', 'Version: 12')],
  ['no key', upgradeRequest(APP, '', '/evil').replace(/Sec-WebSocket-Key: .*\r\n/, '')],
  ['a key that is too short', upgradeRequest(APP, '', '/evil').replace('dGhlIHNhbXBsZSBub25jZQ==', 'dGhl')],
  ['two keys', upgradeRequest(APP, 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n', '/evil')],
  ['two versions', upgradeRequest(APP, 'Sec-WebSocket-Version: 8\r\n', '/evil')],
]

t.test('refuses an upgrade that could be read as something else', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const [what, bytes] of BROKEN_UPGRADES) {
    await t.test(what, (t) => refuses(t, edge, bytes, { status: [400, 426] }))
  }
})

// RFC 9110 section 7.8 and defect 12: an Upgrade that nobody takes is ignored, not answered with a dead connection.
t.test('relays a request that offers h2c or another protocol as an ordinary one', async (t) => {
  const edge = await attackedEdgeFor(t)
  const offers = [
    'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n',
    'Connection: upgrade\r\nUpgrade: TLS/1.0\r\n',
    'Connection: upgrade\r\nUpgrade: foo/2, bar\r\n',
    'Upgrade: websocket\r\n',
  ]
  for (const offer of offers) {
    const request = `GET /good HTTP/1.1\r\nHost: ${APP}\r\n${offer}\r\n`
    t.equal((await exchange(await edge.dialPlain(), request, isWhole)).status, 200, offer)
    const head = edge.vm.received.at(-1) ?? ''
    t.notMatch(head, /^(upgrade|http2-settings):/im, 'the VM is not asked to switch')
  }
})
