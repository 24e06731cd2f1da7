/**
 * The attacker wants the edge to connect somewhere for him: to another host of the network, to a service on the edge's
 * own machine, to the admin API from inside, to a port that nobody opened. So he sends CONNECT over TLS with every kind
 * of authority, in HTTP/1.1 and HTTP/2. The edge dials ports of VMs that have a row, and nothing else; each attempt is
 * refused, no byte reaches the target, and the connection ends.
 */

import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import t, { type Test } from 'tap'
import { codeOf, isOver } from '../helpers/attacked-edge.ts'
import { edgeFor, type TestEdge } from '../helpers/edge.ts'
import { fakeHostFor } from '../helpers/fake-host.ts'
import { h2Exchange } from '../helpers/h2-client.ts'
import { exchange } from '../helpers/raw-client.ts'
import { tlsFor } from '../helpers/tls-dial.ts'
import { until } from '../helpers/until.ts'

const VM = 'amber.localhost'

interface Scene {
  readonly edge: TestEdge
  /** A service that must not be reached; it counts who comes. */
  readonly target: { readonly port: number; readonly reached: () => number }
  /** The VM's port 22. */
  readonly ssh: { readonly port: number; readonly reached: () => number }
}

async function serviceFor(t: Test) {
  let count = 0
  const server = createServer((socket) => {
    count += 1
    socket.on('error', () => {})
    socket.end('open sesame')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { port: (server.address() as AddressInfo).port, reached: () => count }
}

async function sceneFor(t: Test): Promise<Scene> {
  const [target, ssh] = [await serviceFor(t), await serviceFor(t)]
  // The target's own port is among those that an operator lets through: only the missing row refuses it.
  const edge = await edgeFor(t, { LANDFALL_TUNNEL_PORTS: `22,443,${target.port}` })
  const host = await fakeHostFor(t, edge, { vm: 'amber', ports: { 22: ssh.port, 8000: target.port } })
  await host.report('running')
  await edge.route('bare.localhost', target.port)
  await edge.route('22--bare.localhost', target.port)
  return { edge, target, ssh }
}

/** Authorities that lead nowhere, and how each may be refused. */
function authoritiesOf({ edge, target, ssh }: Scene): string[] {
  return [
    // Other hosts, and names that resolve to this machine.
    `example.test:${target.port}`,
    `localhost:${target.port}`,
    `other.localhost:${target.port}`,
    `localhost:22`,
    // IP literals in every spelling.
    `127.0.0.1:${target.port}`,
    `127.0.0.1:${ssh.port}`,
    `127.0.0.1:22`,
    `127.1:${target.port}`,
    `2130706433:${target.port}`,
    `0x7f000001:${target.port}`,
    `0177.0.0.1:${target.port}`,
    `0.0.0.0:${target.port}`,
    `[::1]:${target.port}`,
    `[::ffff:127.0.0.1]:${target.port}`,
    `[::]:22`,
    `169.254.169.254:80`,
    // The VM's own host with ports that have no row, among them the real ones behind its rows.
    `${VM}:${ssh.port}`,
    `${VM}:${target.port}`,
    `${VM}:23`,
    `${VM}:443`,
    `${VM}:8000`,
    `8000--${VM}:8000`,
    `8000--${VM}:22`,
    `22--22--${VM}:22`,
    // Rows without a VM: the admin API and bare addresses.
    `admin.localhost:443`,
    `admin.localhost:${edge.httpsPort}`,
    `admin.localhost:22`,
    `bare.localhost:22`,
    `bare.localhost:${target.port}`,
    `22--bare.localhost:22`,
    // What is no host and port.
    VM,
    `${VM}:`,
    `${VM}:0`,
    `${VM}:65536`,
    `${VM}:022x`,
    `${VM}:22:22`,
    `${VM}:22/`,
    `${VM}:22?x`,
    `${VM}:22#x`,
    `root@${VM}:22`,
    `root:secret@${VM}:22`,
    `${VM}:22@127.0.0.1:${target.port}`,
    `127.0.0.1:${target.port}@${VM}:22`,
    `${VM}%00.example.test:22`,
    `${VM}%2f:22`,
    `${VM}\\@127.0.0.1:22`,
    `${VM}..:22`,
    '*',
    '/',
    `//${VM}:22`,
    `http://${VM}:22`,
    `https://${VM}:22/`,
    `https://127.0.0.1:${target.port}/`,
    `:22`,
    `.:22`,
  ]
}

/** The server name is one that the client's certificate check would take for that authority, where there is one. */
function serverNameOf(authority: string): string {
  const host = /^([a-z0-9.-]+\.localhost)(?::|$)/.exec(authority)?.[1]
  return host ?? VM
}

t.test('CONNECT over HTTP/1.1 leads nowhere but to ports of VMs that have a row', async (t) => {
  const scene = await sceneFor(t)
  const { edge, target, ssh } = scene
  for (const authority of authoritiesOf(scene)) {
    for (const servername of new Set([serverNameOf(authority), VM])) {
      const socket = await edge.dial(servername)
      const request = `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`
      const answer = await exchange(socket, request)
      t.ok(
        [400, 401, 403, 404, 421].includes(answer.status),
        `${authority} by ${servername}: ${answer.status}`,
      )
      t.notMatch(answer.text, /open sesame/)
      t.ok(await isOver(socket), 'the connection is closed')
    }
  }
  t.equal(target.reached(), 0, 'the target was never dialled')
  t.equal(ssh.reached(), 0)
})

t.test('CONNECT over HTTP/2 leads nowhere but to ports of VMs that have a row', async (t) => {
  const scene = await sceneFor(t)
  const { edge, target, ssh } = scene
  for (const authority of authoritiesOf(scene)) {
    const session = await edge.h2(serverNameOf(authority))
    const answer = await h2Exchange(session, { ':method': 'CONNECT', ':authority': authority })
    t.ok([0, 400, 401, 403, 404, 421].includes(answer.status), `${authority}: ${answer.status}`)
    t.notMatch(answer.body, /open sesame/)
    session.destroy()
  }
  t.equal(target.reached(), 0, 'the target was never dialled')
  t.equal(ssh.reached(), 0)
})

t.test(
  'a CONNECT without a server name, or with another one, gets no further than any request',
  async (t) => {
    const { edge, ssh } = await sceneFor(t)
    const request = `CONNECT ${VM}:22 HTTP/1.1\r\nHost: ${VM}:22\r\n\r\n`
    const other = await edge.dial('bare.localhost')
    t.match(await exchange(other, request), { status: 421 })
    t.equal(ssh.reached(), 0)
    // Without a name the certificate is for the domain and its wildcard, which covers the VM.
    const bare = await tlsFor(t, edge, { checkServerIdentity: () => undefined })
    t.match(await exchange(bare, request), { status: 200, body: 'open sesame' })
  },
)

t.test('Host cannot say another authority than the target', async (t) => {
  const { edge, ssh, target } = await sceneFor(t)
  const hosts = [
    `Host: bare.localhost:22`,
    `Host: ${VM}`,
    `Host: ${VM}:23`,
    `Host: 127.0.0.1:${target.port}`,
    'X: y',
    `Host: ${VM}:22\r\nHost: ${VM}:22`,
  ]
  for (const host of hosts) {
    const answer = await exchange(await edge.dial(VM), `CONNECT ${VM}:22 HTTP/1.1\r\n${host}\r\n\r\n`)
    t.equal(answer.status, 400, host)
  }
  const session = await edge.h2(VM)
  const answer = await h2Exchange(session, {
    ':method': 'CONNECT',
    ':authority': `${VM}:22`,
    host: `bare.localhost:22`,
  })
  t.not(answer.status, 200)
  t.equal(ssh.reached() + target.reached(), 0)
})

t.test('CONNECT over HTTP/2 with :path or :scheme is malformed', async (t) => {
  const { edge, ssh } = await sceneFor(t)
  const more = [
    { ':path': '/' },
    { ':scheme': 'https' },
    { ':scheme': 'https', ':path': '/' },
    { ':protocol': 'connect-udp', ':scheme': 'https', ':path': '/' },
  ]
  for (const fields of more) {
    const session = await edge.h2(VM)
    const answer = await h2Exchange(session, {
      ':method': 'CONNECT',
      ':authority': `${VM}:22`,
      ...fields,
    }).catch(() => ({ status: 0 }))
    t.not(answer.status, 200, JSON.stringify(fields))
    session.destroy()
  }
  t.equal(ssh.reached(), 0)
})

t.test('HTTP/1.0 and the plain port take no CONNECT at all', async (t) => {
  const { edge, ssh } = await sceneFor(t)
  const request = `CONNECT ${VM}:22 HTTP/1.1\r\nHost: ${VM}:22\r\n\r\n`
  const plain = await exchange(await edge.dialPlain(), request)
  t.same([plain.status, codeOf(plain)], [405, 'request_method'])
  const redirecting = await edgeFor(t, { LANDFALL_HTTP_MODE: 'redirect' })
  await (await fakeHostFor(t, redirecting, { vm: 'amber', ports: { 22: ssh.port } })).report('running')
  const redirected = await exchange(await redirecting.dialPlain(), request)
  t.same([redirected.status, codeOf(redirected)], [405, 'request_method'])
  const old = await exchange(await edge.dial(VM), request.replace('HTTP/1.1', 'HTTP/1.0'))
  t.same([old.status, codeOf(old)], [405, 'request_method'])
  t.equal(ssh.reached(), 0)
})

t.test('a private port is closed to CONNECT, and so is one that became private', async (t) => {
  const ssh = await serviceFor(t)
  const edge = await edgeFor(t)
  const host = await fakeHostFor(t, edge, { vm: 'amber', ports: { 22: ssh.port }, visibility: 'private' })
  await host.report('running')
  const answer = await exchange(await edge.dial(VM), `CONNECT ${VM}:22 HTTP/1.1\r\nHost: ${VM}:22\r\n\r\n`)
  t.match(answer, { status: 401, body: /\.landfall\/login/ })
  t.match(await h2Exchange(await edge.h2(VM), { ':method': 'CONNECT', ':authority': `${VM}:22` }), {
    status: 401,
  })
  t.equal(ssh.reached(), 0)
})

t.test(
  'the good CONNECT works, in both versions, and what was refused is logged without passwords',
  async (t) => {
    const { edge, ssh } = await sceneFor(t)
    await exchange(await edge.dial(VM), `CONNECT root:secret@${VM}:22 HTTP/1.1\r\nHost: ${VM}:22\r\n\r\n`)
    const answer = await exchange(await edge.dial(VM), `CONNECT ${VM}:22 HTTP/1.1\r\nHost: ${VM}:22\r\n\r\n`)
    t.same([answer.status, answer.body], [200, 'open sesame'])
    for (const name of ['content-length', 'transfer-encoding', 'connection', 'upgrade'])
      t.notOk(name in answer.headers, `RFC 9110 section 9.3.6: no ${name}`)
    const stream = (await edge.h2(VM)).request(
      { ':method': 'CONNECT', ':authority': `${VM}:22` },
      { endStream: false },
    )
    let text = ''
    stream.on('data', (chunk) => {
      text += chunk
    })
    await until(() => text === 'open sesame', 'the bytes of the VM')
    t.equal(ssh.reached(), 2)
    t.notMatch(JSON.stringify(edge.accessLog), /secret/)
  },
)
