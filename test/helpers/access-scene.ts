/** A VM behind a scripted gate, with streams of every kind to it, whose access a test takes away. */

import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Test } from 'tap'
import { type GatedProxy, type GatedSettings, gatedProxyFor, HOST } from './gated-proxy.ts'
import { type RawOrigin, rawOriginFor } from './origin.ts'
import { switchingProtocols, upgradeRequest } from './scripted-vm.ts'
import { CLOSE, type Message, messagesOf } from './ws-frames.ts'

export const ADA = 'X-Landfall-Authorization: Bearer ada\r\n'
export const ADA_H2 = { ':authority': HOST, 'x-landfall-authorization': 'Bearer ada' }
/** What the client of a WebSocket hears. */
export const ENDED = { opcode: CLOSE, payload: Buffer.from('\x11\x31access ended', 'latin1') }
/** The issue says one second. */
export const LIMIT_MS = 1_000

/** Answers an upgrade with 101, anything else with the head of a stream that never ends. */
function vmFor(t: Test): Promise<RawOrigin> {
  const answered = new Set<Socket>()
  return rawOriginFor(t, (socket, received) => {
    if (answered.has(socket) || !received.includes('\r\n\r\n')) return
    answered.add(socket)
    if (/^upgrade: websocket/im.test(received))
      socket.write(switchingProtocols(received.split('\r\n\r\n')[0] ?? ''))
    else if (received.startsWith('GET /wait')) return
    else
      socket.write(
        'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n5\r\ntick\n\r\n',
      )
  })
}

export async function accessSceneFor(t: Test, settings: Partial<GatedSettings> = {}) {
  const vm = await vmFor(t)
  const proxy = await gatedProxyFor(t, { upstream: vm.port, ...settings })
  return { vm, proxy, vmSocket: (at = 0) => vm.sockets[at] as Socket }
}

/** An open WebSocket as bare stream, and what came on it. */
export async function openWs(
  proxy: GatedProxy,
  fields = ADA,
): Promise<{ socket: Duplex; messages: Message[] }> {
  const socket = await proxy.dial()
  socket.write(upgradeRequest(HOST, fields))
  const [head] = (await once(socket, 'data')) as [Buffer]
  if (!head.toString('latin1').startsWith('HTTP/1.1 101')) throw new Error(head.toString('latin1'))
  return { socket, messages: messagesOf(socket) }
}

/** Takes a guest's access away, and rings. */
export const take = ({ gate }: GatedProxy, name = 'ada') => {
  gate.guests.delete(name)
  gate.ring()
}
