/** Half a gibibyte each way, two with LANDFALL_SLOW=1, over HTTP/1.1, through `landfall dev` to its VM: nothing may pile up in the edge. */

import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { json } from 'node:stream/consumers'
import t from 'tap'
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
  await upload(landfall, WARM_UP)
  const memory = await watchMemory(landfall.pid, async () => {
    t.same(await upload(landfall, BULK), { bytes: BULK.bytes }, 'the VM got every byte')
  })
  t.comment(memory)
  t.ok(memory.growthMiB < MOST_GROWTH_MIB, `grew by ${memory.growthMiB} MiB`)
})

t.test('memory stays flat for a large download', async (t) => {
  const landfall = await landfallFor(t)
  await download(landfall, WARM_UP)
  const memory = await watchMemory(landfall.pid, async () => {
    t.equal(await download(landfall, BULK), BULK.bytes, 'the client got every byte')
  })
  t.comment(memory)
  t.ok(memory.growthMiB < MOST_GROWTH_MIB, `grew by ${memory.growthMiB} MiB`)
})

async function upload(landfall: Landfall, bulk: Bulk): Promise<unknown> {
  const outgoing = send(landfall, 'PUT', '/sink?hash=no', { 'content-length': String(bulk.bytes) })
  const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>
  await writeBulk(outgoing, bulk)
  const [response] = await answered
  return json(response)
}

async function download(landfall: Landfall, bulk: Bulk): Promise<number> {
  const outgoing = send(landfall, 'GET', `/stream?bytes=${bulk.bytes}`)
  outgoing.end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  return readBulk(response, bulk)
}

function send(
  { httpsPort, ca }: Landfall,
  method: string,
  path: string,
  headers: Record<string, string> = {},
) {
  return request({
    host: '127.0.0.1',
    port: httpsPort,
    servername: 'hello.localhost',
    ca,
    method,
    path,
    headers: { host: `hello.localhost:${httpsPort}`, ...headers },
    agent: false,
  })
}
