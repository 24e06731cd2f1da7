/** Half a gibibyte each way, two with LANDFALL_SLOW=1, over HTTP/2, through `landfall dev` to its VM: nothing may pile up in the edge. */

import { once } from 'node:events'
import { type ClientHttp2Session, connect } from 'node:http2'
import { json } from 'node:stream/consumers'
import { connect as connectTls } from 'node:tls'
import t, { type Test } from 'tap'
import { type Bulk, readBulk, writeBulk } from '../helpers/bulk.ts'
import { type Landfall, landfallFor } from '../helpers/landfall.ts'
import { watchMemory } from '../helpers/memory.ts'

const BULK = { bytes: process.env.LANDFALL_SLOW === '1' ? 2 ** 31 : 2 ** 29, pauseMs: 1_500 }
/** The first bytes make the heap as large as the traffic wants it; flat means that no more is wanted later. */
const WARM_UP = { bytes: 2 ** 28, pauseMs: 0 }
/** Room for the collector's moods; a sixth of what a body without back-pressure would take. */
const MOST_GROWTH_MIB = 80

t.test('memory stays flat for a large upload', async (t) => {
  const landfall = await landfallFor(t)
  const session = await sessionFor(t, landfall)
  await upload(session, WARM_UP)
  const memory = await watchMemory(landfall.pid, async () => {
    t.same(await upload(session, BULK), { bytes: BULK.bytes }, 'the VM got every byte')
  })
  t.comment(memory)
  t.ok(memory.growthMiB < MOST_GROWTH_MIB, `grew by ${memory.growthMiB} MiB`)
})

t.test('memory stays flat for a large download', async (t) => {
  const landfall = await landfallFor(t)
  const session = await sessionFor(t, landfall)
  await download(session, WARM_UP)
  const memory = await watchMemory(landfall.pid, async () => {
    t.equal(await download(session, BULK), BULK.bytes, 'the client got every byte')
  })
  t.comment(memory)
  t.ok(memory.growthMiB < MOST_GROWTH_MIB, `grew by ${memory.growthMiB} MiB`)
})

async function upload(session: ClientHttp2Session, bulk: Bulk): Promise<unknown> {
  const stream = session.request(
    { ':method': 'PUT', ':path': '/sink?hash=no', 'content-length': String(bulk.bytes) },
    { endStream: false },
  )
  await writeBulk(stream, bulk)
  return json(stream)
}

async function download(session: ClientHttp2Session, bulk: Bulk): Promise<number> {
  return readBulk(session.request({ ':path': `/stream?bytes=${bulk.bytes}` }), bulk)
}

async function sessionFor(t: Test, { httpsPort, ca }: Landfall): Promise<ClientHttp2Session> {
  const authority = `https://hello.localhost:${httpsPort}`
  const settings = { initialWindowSize: 1_048_576 }
  const createConnection = () =>
    connectTls({
      host: '127.0.0.1',
      port: httpsPort,
      servername: 'hello.localhost',
      ca,
      ALPNProtocols: ['h2'],
    })
  const session = connect(authority, { settings, createConnection })
  t.teardown(() => session.destroy())
  await once(session, 'connect')
  session.setLocalWindowSize(4_194_304)
  return session
}
