/**
 * A tenant's VM refuses an upgrade with an endless body while the client does not read. A naive proxy takes it all into
 * its memory. The edge may only take what fits into its buffers; and a client that does read must get all of it.
 */

import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { h2Call } from '../helpers/h2-client.ts'
import { EXTENDED_CONNECT, HOST, routedEdgeFor } from '../helpers/routed-edge.ts'
import { scriptedVmFor, upgradeRequest } from '../helpers/scripted-vm.ts'
import { until } from '../helpers/until.ts'

const MIB = 1_048_576
const BODY_BYTES = 200 * MIB
/** Kernel buffers of both connections and the edge's own; far below the body, far above what they take here. */
const MOST_TAKEN_BYTES = 40 * MIB
const CHUNK = Buffer.alloc(MIB, 'x')
const HEAD = `HTTP/1.1 403 Forbidden\r\ncontent-length: ${BODY_BYTES}\r\n\r\n`

interface Feed {
  /** Body bytes that left the VM's process. */
  taken: number
}

async function feedBody(socket: Socket, feed: Feed): Promise<void> {
  socket.write(HEAD)
  for (let sent = 0; sent < BODY_BYTES && !socket.destroyed; sent += CHUNK.length) {
    if (!socket.write(CHUNK)) await Promise.race([once(socket, 'drain'), once(socket, 'close')])
    feed.taken = sent + CHUNK.length
  }
}

/** Waits until the VM cannot write any more, then answers how much it has written. */
async function stalledAt(feed: Feed): Promise<number> {
  let last = -1
  await until(async () => {
    if (feed.taken > 0 && feed.taken === last) return true
    last = feed.taken
    await sleep(500)
    return false
  }, 'the VM has to wait')
  return feed.taken
}

function fedVmFor(t: Parameters<typeof scriptedVmFor>[0], feed: Feed) {
  return scriptedVmFor(t, (socket) => void feedBody(socket, feed).catch(() => {}))
}

for (const way of ['plain', 'tls'] as const) {
  t.test(`a client that does not read holds the VM back over ${way}`, async (t) => {
    const feed = { taken: 0 }
    const vm = await fedVmFor(t, feed)
    const edge = await routedEdgeFor(t, vm.port)
    const socket = await edge.open(way)
    socket.pause()
    socket.write(upgradeRequest(HOST))
    const taken = await stalledAt(feed)
    t.ok(taken < MOST_TAKEN_BYTES, `the edge took ${taken} bytes`)
  })

  t.test(`a client that reads gets the whole refusal over ${way}`, async (t) => {
    const feed = { taken: 0 }
    const vm = await fedVmFor(t, feed)
    const edge = await routedEdgeFor(t, vm.port)
    const socket = await edge.open(way)
    let bytes = 0
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    socket.write(upgradeRequest(HOST))
    await until(() => bytes >= BODY_BYTES, `${BODY_BYTES} bytes`, 20_000)
    t.equal(feed.taken, BODY_BYTES)
  })
}

t.test('a client that does not read holds the VM back over HTTP/2', async (t) => {
  const feed = { taken: 0 }
  const vm = await fedVmFor(t, feed)
  const edge = await routedEdgeFor(t, vm.port)
  const call = h2Call(await edge.openH2(), EXTENDED_CONNECT, { hasBody: true })
  call.stream.pause()
  const taken = await stalledAt(feed)
  t.ok(taken < MOST_TAKEN_BYTES, `the edge took ${taken} bytes`)
  t.equal(call.answer.status, 403)
})

t.test('a client that leaves in the middle of a refusal ends it for the VM', async (t) => {
  const feed = { taken: 0 }
  const vm = await fedVmFor(t, feed)
  const edge = await routedEdgeFor(t, vm.port)
  const socket = await edge.open('plain')
  socket.pause()
  socket.write(upgradeRequest(HOST))
  await stalledAt(feed)
  socket.resetAndDestroy()
  await until(() => vm.sockets[0]?.destroyed === true, "the VM's connection is closed", 2_000)
  t.pass('closed')
})
