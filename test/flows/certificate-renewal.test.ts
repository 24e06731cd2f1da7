/** Certificates are replaced at two edges while clients of every kind ask on: no request fails, and only new connections notice. */

import { once } from 'node:events'
import { type ClientHttp2Session, connect as connectH2 } from 'node:http2'
import { Agent, type RequestOptions, request } from 'node:https'
import { text } from 'node:stream/consumers'
import type { TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { PLATFORM } from '../helpers/acme-edge.ts'
import { orderingEdgesFor, type SharingEdge } from '../helpers/certified-edges.ts'
import { originFor } from '../helpers/origin.ts'
import { until } from '../helpers/until.ts'

const CUSTOM = 'www.shop.test'
const WEB = `web.${PLATFORM}`
const DEADLINE_MS = 20_000

/** Asks once, and gives the certificate that the connection has; rejects unless the answer is whole and good. */
type Visit = () => Promise<string>

interface Client {
  readonly what: string
  readonly visit: Visit
  readonly shown: string[]
  failure?: unknown
}

t.test('no request fails, old connections live on, and new ones get the new certificate', async (t) => {
  const { edges, route, admin, smallCa } = await orderingEdgesFor(t)
  const origin = await originFor(t)
  await route({ hostname: CUSTOM, visibility: 'public', port: origin.port })
  await route({ hostname: WEB, visibility: 'public', port: origin.port })
  const trusted = edges.map((edge) => ({ ...edge, ca: smallCa.rootPem }))
  const isUp = async (edge: SharingEdge) => {
    const visits = [CUSTOM, WEB].map((hostname) => freshVisit(edge, { hostname })())
    return (await Promise.allSettled(visits)).every(({ status }) => status === 'fulfilled')
  }
  for (const edge of trusted) await until(() => isUp(edge), `${edge.name} has both`, DEADLINE_MS)
  t.equal(smallCa.orders.length, 2)

  const fresh = trusted.flatMap((edge) => freshClients(edge))
  const kept = (await Promise.all(trusted.map((edge) => keptClients(t, edge)))).flat()
  const end = new AbortController()
  const load = Promise.all([...fresh, ...kept].map((client) => askOn(client, end.signal)))
  await until(() => [...fresh, ...kept].every(({ shown }) => shown.length > 3), 'all ask', DEADLINE_MS)
  for (const name of [CUSTOM, PLATFORM]) {
    t.equal((await admin('POST', `/v1/certificates/${name}/renew`)).status, 200, name)
  }
  const hasChanged = ({ shown, failure }: Client) => failure !== undefined || shown[0] !== shown.at(-1)
  await until(() => fresh.every(hasChanged), 'new connections have the new certificates', DEADLINE_MS)
  const after = new Map([...fresh, ...kept].map((client) => [client, client.shown.length + 3]))
  const goesOn = ([{ shown, failure }, count]: [Client, number]) =>
    failure !== undefined || shown.length > count
  await until(() => [...after].every(goesOn), 'all go on afterwards', DEADLINE_MS)
  end.abort()
  await load

  for (const { what, failure, shown } of fresh) {
    t.equal(failure, undefined, what)
    t.equal(new Set(shown).size, 2, `${what}: the old one, then the new one`)
  }
  for (const { what, failure, shown } of kept) {
    t.equal(failure, undefined, what)
    t.equal(new Set(shown).size, 1, `${what}: the old connection`)
  }
  t.equal(smallCa.orders.length, 4)
})

async function askOn(client: Client, end: AbortSignal): Promise<void> {
  const oneMore = async () => {
    client.shown.push(await client.visit())
    return end.aborted
  }
  await until(oneMore, 'the end', 2 * DEADLINE_MS).catch((error: unknown) => {
    client.failure = error
  })
}

/** A new connection for each request. */
function freshClients(edge: SharingEdge): Client[] {
  const visits: [string, Visit][] = [
    ['a custom name', freshVisit(edge, { hostname: CUSTOM })],
    ["a name of the platform's", freshVisit(edge, { hostname: WEB })],
    ['no server name', freshVisit(edge, { hostname: WEB, isNameless: true })],
  ]
  return visits.map(([what, visit]) => ({ what: `${edge.name}: ${what}`, visit, shown: [] }))
}

/** One connection for all requests. */
async function keptClients(t: Test, edge: SharingEdge): Promise<Client[]> {
  const clients: Client[] = []
  for (const hostname of [CUSTOM, WEB]) {
    const agent = new Agent({ keepAlive: true, maxSockets: 1, maxCachedSessions: 0 })
    t.teardown(() => agent.destroy())
    const h1 = () => ask({ ...targetOf(edge, hostname), agent })
    clients.push({ what: `${edge.name}: HTTP/1.1, ${hostname}`, visit: h1, shown: [] })
    const session = await sessionFor(t, edge, hostname)
    const h2 = () => askOver(session, `${hostname}:${edge.httpsPort}`)
    clients.push({ what: `${edge.name}: HTTP/2, ${hostname}`, visit: h2, shown: [] })
  }
  return clients
}

function freshVisit(
  edge: SharingEdge,
  { hostname, isNameless = false }: { readonly hostname: string; readonly isNameless?: boolean },
): Visit {
  const target = targetOf(edge, hostname)
  return () => ask({ ...target, agent: false, ...(isNameless && { servername: '', checkServerIdentity }) })
}

/** Node would compare with the address that it connects to. */
function checkServerIdentity(_address: string, { subjectaltname }: { readonly subjectaltname?: string }) {
  return subjectaltname?.includes(`DNS:*.${PLATFORM}`) ? undefined : new Error(`not ${subjectaltname}`)
}

function targetOf({ httpsPort, ca }: SharingEdge, hostname: string): RequestOptions {
  const host = { host: '127.0.0.1', port: httpsPort, servername: hostname }
  return { ...host, ca, headers: { host: `${hostname}:${httpsPort}` } }
}

function ask(options: RequestOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request(options, (response) => {
      const fingerprint = (response.socket as TLSSocket).getPeerCertificate().fingerprint256
      const check = (body: string) => {
        if (response.statusCode === 200 && body === 'hello') resolve(fingerprint)
        else reject(new Error(`${response.statusCode} ${body}`))
      }
      text(response).then(check, reject)
    })
    outgoing.once('error', reject).end()
  })
}

async function sessionFor(t: Test, edge: SharingEdge, hostname: string): Promise<ClientHttp2Session> {
  const session = connectH2(`https://${hostname}:${edge.httpsPort}`, {
    ca: edge.ca,
    servername: hostname,
    lookup: (_name, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }] as never, 4),
  })
  t.teardown(() => session.destroy())
  await once(session, 'connect')
  return session
}

async function askOver(session: ClientHttp2Session, authority: string): Promise<string> {
  const stream = session.request({ ':authority': authority })
  const [headers] = (await once(stream, 'response')) as [{ readonly ':status': number }]
  const body = await text(stream)
  if (headers[':status'] !== 200 || body !== 'hello') throw new Error(`${headers[':status']} ${body}`)
  return (session.socket as TLSSocket).getPeerCertificate().fingerprint256
}
