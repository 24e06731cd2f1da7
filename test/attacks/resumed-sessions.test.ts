/**
 * The attacker resumes a session that was made for one name under another (RFC 8446 section 4.6.1), to be taken for a
 * client of the first, or replays its early data. A resumed connection counts for the name of its own hello (TLS 1.3; of
 * TLS 1.2 nobody can tell it, so the request's host counts), and there is no early data.
 */

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { connect, type TLSSocket } from 'node:tls'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { APP, type AttackedEdge, attackedEdgeFor, codeOf } from '../helpers/attacked-edge.ts'
import { exchange, isWhole } from '../helpers/raw-client.ts'

const OTHER = 'other.localhost'
const run = promisify(execFile)
const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const
type Version = (typeof VERSIONS)[number]

async function dial(
  t: Test,
  edge: AttackedEdge,
  options: { readonly servername: string; readonly version: Version; readonly session?: Buffer | undefined },
): Promise<{ socket: TLSSocket; session: () => Buffer | undefined }> {
  const { servername, version, session } = options
  const socket = connect({
    ...{ host: '127.0.0.1', port: edge.httpsPort, servername, rejectUnauthorized: false },
    ...{ minVersion: version, maxVersion: version, ALPNProtocols: ['http/1.1'] },
    ...(session !== undefined && { session }),
  })
  t.teardown(() => socket.destroy())
  const sessions: Buffer[] = []
  socket.on('session', (session) => sessions.push(session))
  await once(socket, 'secureConnect')
  // The edge may cut what it refuses.
  socket.on('error', () => {})
  return { socket, session: () => sessions.at(-1) }
}

async function ask(socket: TLSSocket, host: string) {
  const answer = await exchange(socket, `GET /x HTTP/1.1\r\nHost: ${host}\r\n\r\n`, isWhole)
  return { status: answer.status, code: codeOf(answer) }
}

/** After a first, full handshake for `name`. */
async function sceneFor(t: Test, version: Version, name = APP) {
  const edge = await attackedEdgeFor(t)
  for (const hostname of new Set([OTHER, name])) await edge.route(hostname, edge.vm.port)
  const first = await dial(t, edge, { servername: name, version })
  t.match(await ask(first.socket, name), { status: 200 })
  const resume = async (servername: string) => {
    const { socket } = await dial(t, edge, { servername, version, session: first.session() })
    return socket
  }
  return { edge, resume }
}

for (const version of VERSIONS) {
  t.test(`resumes under the same name (${version})`, async (t) => {
    const { resume } = await sceneFor(t, version)
    const socket = await resume(APP)
    t.ok(socket.isSessionReused())
    t.match(await ask(socket, APP), { status: 200 })
  })

  t.test(`resumes under the name of a custom domain (${version})`, async (t) => {
    const { resume } = await sceneFor(t, version, 'shop.example')
    const socket = await resume('shop.example')
    t.ok(socket.isSessionReused())
    t.match(await ask(socket, 'shop.example'), { status: 200 })
    t.match(await ask(socket, 'nobody.example'), { status: 421 })
  })
}

// Node's client does not resume under another name, as it should; the attacker's does.
t.test('goes by the new name when a session of another name is resumed (TLS 1.3)', async (t) => {
  const edge = await attackedEdgeFor(t)
  await edge.route(OTHER, edge.vm.port)
  const file = join(t.testdir(), 'session.pem')
  await openssl(edge, { name: APP, host: APP, more: ['-sess_out', file] })
  const misled = await openssl(edge, { name: OTHER, host: APP, more: ['-sess_in', file] })
  t.match(misled, /Reused, TLSv1\.3/)
  t.match(misled, /HTTP\/1\.1 421 /)
  const led = await openssl(edge, { name: OTHER, host: OTHER, more: ['-sess_in', file] })
  t.match(led, /Reused, TLSv1\.3/)
  t.match(led, /HTTP\/1\.1 200 /)
})

t.test('takes no early data', async (t) => {
  const edge = await attackedEdgeFor(t)
  const file = join(t.testdir(), 'session.pem')
  await openssl(edge, { name: APP, host: APP, more: ['-sess_out', file] })
  const { stdout } = await run('openssl', ['sess_id', '-in', file, '-noout', '-text'])
  t.match(stdout, /TLS session ticket:/)
  t.match(stdout, /Max Early Data: 0\b/)
})

interface Visit {
  readonly name: string
  readonly host: string
  readonly more: readonly string[]
}

/** All that `openssl s_client` says of one connection with one request. */
async function openssl({ httpsPort }: AttackedEdge, { name, host, more }: Visit): Promise<string> {
  const client = run('openssl', [
    ...['s_client', '-connect', `127.0.0.1:${httpsPort}`, '-servername', name, '-tls1_3', '-ign_eof'],
    ...more,
  ])
  client.child.stdin?.end(`GET /x HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
  return (await client).stdout
}
