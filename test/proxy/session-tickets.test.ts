/**
 * Session tickets under keys that edges share. Node documents none of this: when a new Node changes it, these tests
 * fail, and proxy/session-tickets.ts has to change.
 */

import { once } from 'node:events'
import { connect, createSecureContext, createServer, type Server, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { loadLocalCa } from '../../acme/local-ca.ts'
import type { TicketKey, TicketKeys } from '../../proxy/certificates.ts'
import { shareTickets } from '../../proxy/session-tickets.ts'

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const
type Version = (typeof VERSIONS)[number]

function keyOf(byte: number): TicketKey {
  const part = (offset: number) => Buffer.alloc(16, byte + offset)
  return { name: part(0), hmacKey: part(1), aesKey: part(2) }
}

/** The first seals; all open. */
function keysOf(...keys: TicketKey[]): TicketKeys {
  return { sealing: keys[0], find: (name) => keys.find((key) => key.name.equals(name)) }
}

interface Edge {
  readonly port: number
  readonly server: Server
}

async function edgeFor(t: Test, tickets: TicketKeys, isNative = true): Promise<Edge> {
  const ca = await loadLocalCa(t.testdir())
  const issue = async (name: string) => {
    const { certPem, keyPem } = await ca.issue([name])
    return { cert: certPem, key: keyPem }
  }
  const contexts = new Map<string, ReturnType<typeof createSecureContext>>()
  contexts.set('a.test', createSecureContext(await issue('a.test')))
  const server = createServer({
    ...(await issue('default.test')),
    sessionIdContext: 'landfall',
    SNICallback: (name, done) => done(null, contexts.get(name)),
  })
  server.on('tlsClientError', () => {})
  server.on('secureConnection', (socket) => {
    socket.on('error', () => {})
    socket.end('hello')
  })
  if (!isNative) withoutCallback(server)
  const refresh = shareTickets(server, tickets)
  server.on('connection', refresh)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return { port: (server.address() as { port: number }).port, server }
}

function withoutCallback(server: Server): void {
  const context = (server as unknown as { _sharedCreds: { context: object } })._sharedCreds.context
  Object.defineProperty(context, 'enableTicketKeyCallback', { value: undefined })
}

interface Visit {
  readonly isResumed: boolean
  readonly sessions: readonly Buffer[]
}

async function visit(
  { port }: Edge,
  { version, servername, session }: { version: Version; servername: string; session?: Buffer | undefined },
): Promise<Visit> {
  const socket: TLSSocket = connect({
    ...{ host: '127.0.0.1', port, servername, rejectUnauthorized: false },
    ...{ minVersion: version, maxVersion: version },
    ...(session !== undefined && { session }),
  })
  const sessions: Buffer[] = []
  socket.on('session', (session) => sessions.push(session))
  await once(socket, 'secureConnect')
  const isResumed = socket.isSessionReused()
  socket.resume()
  await once(socket, 'close')
  return { isResumed, sessions }
}

async function resumes(from: Edge, to: Edge, version: Version): Promise<boolean> {
  const { isResumed, sessions } = await visit(from, { version, servername: 'a.test' })
  if (isResumed || sessions.length === 0) throw new Error('the first handshake must be full, with a ticket')
  return (await visit(to, { version, servername: 'a.test', session: sessions.at(-1) })).isResumed
}

for (const version of VERSIONS) {
  t.test(`resumes at another edge with the same keys (${version})`, async (t) => {
    const [here, there] = [await edgeFor(t, keysOf(keyOf(1))), await edgeFor(t, keysOf(keyOf(1)))]
    t.ok(await resumes(here, there, version))
    t.ok(await resumes(there, here, version))
  })

  t.test(
    `opens tickets of an older key, and of a newer one that others seal with (${version})`,
    async (t) => {
      const [older, newer] = [keyOf(1), keyOf(50)]
      const before = await edgeFor(t, keysOf(older, newer))
      const after = await edgeFor(t, keysOf(newer, older))
      t.ok(await resumes(before, after, version))
      t.ok(await resumes(after, before, version))
    },
  )

  t.test(`makes a full handshake with a ticket of a key that it does not know (${version})`, async (t) => {
    const [here, there] = [await edgeFor(t, keysOf(keyOf(1))), await edgeFor(t, keysOf(keyOf(50)))]
    t.notOk(await resumes(here, there, version))
    t.ok(await resumes(there, there, version), 'and goes on with its own')
  })

  t.test(
    `resumes at the same edge before it knows any key, and later with the shared one (${version})`,
    async (t) => {
      const tickets: { sealing: TicketKey | undefined; find: TicketKeys['find'] } = {
        sealing: undefined,
        find: () => undefined,
      }
      const edge = await edgeFor(t, tickets)
      t.ok(await resumes(edge, edge, version))
      Object.assign(tickets, keysOf(keyOf(1)))
      t.ok(await resumes(edge, await edgeFor(t, keysOf(keyOf(1))), version))
    },
  )

  t.test(`survives keys that fail (${version})`, async (t) => {
    const fail = () => {
      throw new Error('no keys')
    }
    const good = await edgeFor(t, keysOf(keyOf(1)))
    const bad = await edgeFor(t, { sealing: keyOf(1), find: fail })
    t.notOk(await resumes(good, bad, version))
    t.notOk(await resumes(bad, bad, version))
  })

  t.test(`goes on with the newest key where Node has no such callback (${version})`, async (t) => {
    const old = await edgeFor(t, keysOf(keyOf(1)), false)
    t.ok(await resumes(old, await edgeFor(t, keysOf(keyOf(1)), false), version))
    t.ok(await resumes(old, await edgeFor(t, keysOf(keyOf(1))), version), 'both ways seal alike')
    t.notOk(await resumes(old, await edgeFor(t, keysOf(keyOf(50)), false), version))
  })
}

// RFC 8446 section C.4: a ticket is for one use, so a client needs a new one each time.
t.test('gives a new ticket with each resumption of TLS 1.3', async (t) => {
  const edge = await edgeFor(t, keysOf(keyOf(1)))
  let { sessions } = await visit(edge, { version: 'TLSv1.3', servername: 'a.test' })
  for (let round = 0; round < 3; round += 1) {
    const next = await visit(edge, { version: 'TLSv1.3', servername: 'a.test', session: sessions.at(-1) })
    t.ok(next.isResumed)
    t.ok(next.sessions.length >= 1, 'a new ticket')
    sessions = next.sessions
  }
})

t.test('has the callback that this is built on', async (t) => {
  const { server } = await edgeFor(t, keysOf(keyOf(1)))
  const { context } = (server as unknown as { _sharedCreds: { context: Record<string, unknown> } })
    ._sharedCreds
  t.type(context.enableTicketKeyCallback, 'function')
  t.type(context.onticketkeycallback, 'function')
})
