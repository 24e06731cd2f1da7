/**
 * The attacker sends a Host field that two programs read differently: twice, with a port out of range, with user
 * info, with a space or a list. A naive proxy routes by one reading while the VM, a cache or a log takes the other.
 * Each one must be refused with 400 before anything is decided, the VM must see nothing, and the connection closes.
 */

import t from 'tap'
import { APP, attackedEdgeFor, codeOf, refuses } from '../helpers/attacked-edge.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'

const INVALID_HOSTS: readonly (readonly [string, string])[] = [
  ['an empty value', ''],
  ['only spaces', '   '],
  ['a port above 65535', `${APP}:99999`],
  ['a port of six digits', `${APP}:000080`],
  ['port 0', `${APP}:0`],
  ['a port with a sign', `${APP}:+80`],
  ['a port with a letter', `${APP}:8o`],
  ['a negative port', `${APP}:-80`],
  ['an empty port', `${APP}:`],
  ['two ports', `${APP}:80:81`],
  ['user info', `x@${APP}`],
  ['user info with a password', `x:y@${APP}`],
  ['a space inside', `app .localhost`],
  ['a tab inside', `app\t.localhost`],
  ['two names with a space', `${APP} other.localhost`],
  ['two names with a comma', `${APP}, other.localhost`],
  ['a path', `${APP}/x`],
  ['a query', `${APP}?x`],
  ['a fragment', `${APP}#x`],
  ['a backslash', `app\\.localhost`],
  ['a scheme', `http://${APP}`],
  ['percent-encoding', 'app%2elocalhost'],
  ['quotes', `"${APP}"`],
  ['a semicolon', `${APP};x`],
  ['markup', `<b>${APP}</b>`],
  ['letters beyond ASCII', 'äpp.localhost'],
  ['an empty label', 'app..localhost'],
  ['a dot in front', `.${APP}`],
  ['two dots behind', `${APP}..`],
  ['only a dot', '.'],
  ['a hyphen in front', `-${APP}`],
  ['an overlong name', `${'a'.repeat(63)}.`.repeat(5) + APP],
  ['IPv6 without brackets', '::1'],
  ['IPv6 without a closing bracket', '[::1'],
  ['IPv6 with text behind the bracket', '[::1]x'],
  ['IPv6 with a port out of range', '[::1]:65536'],
  ['IPv6 with a zone', '[fe80::1%25eth0]'],
  ['an IP literal of the future', '[v1.x]'],
  ['brackets around a name', `[${APP}]`],
  ['brackets around nothing', '[]'],
  ['brackets around colons that are no address', '[:::::]'],
  ['brackets around dots that are no address', '[....]'],
  ['brackets around IPv4', '[127.0.0.1]'],
  ['brackets with a group of five digits', '[12345::1]'],
]

t.test('refuses a Host field that is no valid host', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const [what, host] of INVALID_HOSTS) {
    await t.test(what, async (t) => {
      await refuses(t, edge, `GET /evil HTTP/1.1\r\nHost: ${host}\r\n\r\n`, {
        status: 400,
        code: 'request_host',
      })
    })
  }
})

const HOST_COUNTS: readonly (readonly [string, string])[] = [
  ['no Host in HTTP/1.1', 'GET /evil HTTP/1.1\r\nAccept: */*\r\n\r\n'],
  ['no Host in HTTP/1.0', 'GET /evil HTTP/1.0\r\n\r\n'],
  ['no Host beside an absolute target', `GET http://${APP}/evil HTTP/1.1\r\n\r\n`],
  ['the same Host twice', `GET /evil HTTP/1.1\r\nHost: ${APP}\r\nHost: ${APP}\r\n\r\n`],
  ['two different Hosts', `GET /evil HTTP/1.1\r\nHost: ${APP}\r\nHost: other.localhost\r\n\r\n`],
  ['the known Host behind an unknown', `GET /evil HTTP/1.1\r\nHost: x.localhost\r\nHost: ${APP}\r\n\r\n`],
  ['Host twice in two cases', `GET /evil HTTP/1.1\r\nHost: ${APP}\r\nhOST: ${APP}\r\n\r\n`],
  ['Host far behind Host', `GET /evil HTTP/1.1\r\nHost: ${APP}\r\n${fillers(40)}Host: ${APP}\r\n\r\n`],
  ['an empty Host behind a good one', `GET /evil HTTP/1.1\r\nHost: ${APP}\r\nHost:\r\n\r\n`],
  ['only an underscore spelling', `GET /evil HTTP/1.1\r\n_Host: ${APP}\r\n\r\n`],
]

t.test('refuses a request without exactly one Host field', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const [what, bytes] of HOST_COUNTS) {
    await t.test(what, async (t) => {
      await refuses(t, edge, bytes, { status: 400, code: 'request_host' })
    })
  }
})

t.test('refuses a second Host that stands beyond the counted fields', async (t) => {
  const edge = await attackedEdgeFor(t, { LANDFALL_MAX_HEADER_COUNT: '10' })
  const seen = edge.requestLines().length
  const request = `GET /evil HTTP/1.1\r\nHost: ${APP}\r\n${fillers(30)}Host: other.localhost\r\n\r\n`
  const answer = await exchange(await edge.dialPlain(), request, isWhole)
  t.match(answer.status, /^4(00|31)$/)
  t.equal(edge.requestLines().length, seen, 'the VM received nothing')
})

t.test('takes the ways to write a host that mean one thing only', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const host of [APP, 'APP.LocalHost', `${APP}.`, `${APP}:80`, `${APP}:65535`, `${APP}.:8443`]) {
    await t.test(host, async (t) => {
      const request = `GET /good HTTP/1.1\r\nHost: ${host}\r\n\r\n`
      t.equal((await exchange(await edge.dialPlain(), request, isWhole)).status, 200)
    })
  }
})

t.test('answers 404, not 400, for a valid IPv6 host without a route', async (t) => {
  const edge = await attackedEdgeFor(t)
  for (const host of ['[::1]', '[2001:db8::7]:8443', '[::ffff:127.0.0.1]']) {
    const answer = await exchange(await edge.dialPlain(), `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`, isWhole)
    t.match({ status: answer.status, code: codeOf(answer) }, { status: 404, code: 'route_unknown' }, host)
  }
})

function fillers(count: number): string {
  return Array.from({ length: count }, (_, at) => `X-Filler-${at}: ${at}\r\n`).join('')
}
