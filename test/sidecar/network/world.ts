/** A host with guests and an outside, all in namespaces of the test. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { createMetadata, type GuestFacts, type Metadata } from '../../../sidecar/metadata/metadata.ts'
import type { GuestPlace, TapLink } from '../../../sidecar/network/guest-network.ts'
import { startTapNetwork, type TapSettings } from '../../../sidecar/network/tap-network.ts'
import { runCommand } from '../../../sidecar/run-command.ts'
import { uidOfSlot } from '../../../sidecar/slots.ts'
import { createListLog } from '../../helpers/list-log.ts'
import { type Cable, startCable } from './cable.ts'
import { ACTIONS, type Actions } from './guest-agent.ts'

export const CREATED_AT = '2026-01-31T12:00:00.123Z'
/** The outside has public addresses and, beside them, those that a cloud has for its machines alone. */
export const OUTSIDE = '203.0.113.9'
export const HOST_OUTSIDE = '203.0.113.1'
/** How long an answer to a strange address is waited for. */
const SPOOFED_MS = 600
export const PRIVATE = ['10.0.0.9', '172.16.0.9', '192.168.0.9', '100.64.0.9', '169.254.170.2', '198.18.0.9']

type Do = <Name extends keyof Actions>(
  action: Name,
  args: Parameters<Actions[Name]>[0],
) => Promise<Awaited<ReturnType<Actions[Name]>>>

export interface Party {
  readonly do: Do
}

export interface Guest extends Party {
  readonly link: TapLink
  readonly cable: Cable
  /** The address alone. */
  readonly address: string
  /** The namespace that plays the guest. */
  readonly namespace: string
  /** What the metadata service answers it, from `from` when given. */
  ask(
    path: string,
    options?: { readonly from?: string; readonly headers?: readonly string[] },
  ): Promise<string>
}

export function listLog() {
  const log = createListLog()
  return { log, lines: log.lines }
}

export async function ip(commands: string): Promise<string> {
  return runCommand('ip', ['-batch', '-'], { input: commands })
}

/** A shell in the namespace of that name, or in the host's. */
export async function shell(script: string, namespace?: string): Promise<string> {
  const args = namespace === undefined ? [] : [`--net=/run/netns/${namespace}`]
  return runCommand('nsenter', [...args, '/bin/sh', '-c', script])
}

export function placeOf(slot: number, more: Partial<GuestPlace> = {}): GuestPlace {
  return { name: `vm${slot}`, createdAt: CREATED_AT, slot, egress: 'open', peers: [], ...more }
}

const METADATA: Metadata = createMetadata({
  find: async (key): Promise<GuestFacts> => {
    const name = key.slice(0, key.lastIndexOf('-'))
    const identity = { publicKey: '', openssh: `key of ${name}`, dropbear: new Uint8Array() }
    return { name, createdAt: CREATED_AT, pool: 'p', image: 'hello', identity }
  },
})

/** The host with its network and an outside; teardown leaves nothing. */
export async function worldFor(t: Test, settings: TapSettings = {}) {
  const { log, lines } = listLog()
  const start = () => startTapNetwork({ log, metadata: METADATA }, settings)
  let network = await start()
  t.teardown(async () => {
    await network.sweep([])
    await network[Symbol.asyncDispose]()
    await shell('nft flush ruleset; ip address flush dev lo scope global')
  })
  t.teardown(() => ACTIONS.reset({}))
  await outsideFor(t)
  return {
    lines,
    get network() {
      return network
    },
    /** As at the end of a sidecar and the start of the next. */
    restart: async () => {
      await network[Symbol.asyncDispose]()
      network = await start()
    },
    outside: await partyFor(t, 'outside'),
    host: { do: ((action, args) => ACTIONS[action](args as never)) as Do },
    guest: async (slot: number, more: Partial<GuestPlace> = {}): Promise<Guest> => {
      const place = placeOf(slot, more)
      const link = await network.attach(place, '/run')
      if (link.kind !== 'tap') throw new Error('no tap')
      return guestFor(t, slot, link)
    },
  }
}

async function outsideFor(t: Test): Promise<void> {
  await ip(`netns add outside
link add wan0 type veth peer name eth0 netns outside
address add ${HOST_OUTSIDE}/24 dev wan0
link set wan0 up
route add default via ${OUTSIDE} dev wan0
`)
  t.teardown(() => ip('link delete wan0\nnetns delete outside\n'))
  const addresses = [`${OUTSIDE}/24`, '169.254.169.254/32', ...PRIVATE.map((it) => `${it}/32`)]
  const steps = [
    'ip link set lo up; ip link set eth0 up',
    ...addresses.map((it) => `ip address add ${it} dev eth0`),
  ]
  await shell(steps.join('\n'), 'outside')
}

async function guestFor(t: Test, slot: number, link: TapLink): Promise<Guest> {
  const namespace = `guest-${slot}`
  await ip(`netns add ${namespace}\n`)
  t.teardown(() => ip(`netns delete ${namespace}\n`))
  const cable = await startCable({
    guest: `/run/netns/${namespace}`,
    vm: link.netns,
    device: link.device,
    uid: uidOfSlot(slot),
  })
  t.teardown(() => cable[Symbol.asyncDispose]())
  await shell(
    `ip link set lo up
ip link set eth0 address ${link.mac} up
ip address add ${link.address} dev eth0
ip route add ${link.gateway} dev eth0
ip route add default via ${link.gateway} dev eth0`,
    namespace,
  )
  const party = await partyFor(t, namespace)
  const address = link.addressOf(1).host
  return {
    ...party,
    link,
    cable,
    address,
    namespace,
    ask: (path, { from, headers = ['Landfall-Metadata: 1'] } = {}) => {
      const bound = from === undefined ? {} : { from, timeoutMs: SPOOFED_MS }
      const text = [`GET ${path} HTTP/1.1`, 'Host: 169.254.169.254', ...headers, '', ''].join('\r\n')
      return party.do('request', { host: '169.254.169.254', port: 80, text, ...bound })
    },
  }
}

async function partyFor(t: Test, namespace: string): Promise<Party> {
  const file = fileURLToPath(new URL('guest-agent.ts', import.meta.url))
  const args = [`--net=/run/netns/${namespace}`, process.execPath, file]
  const child: ChildProcess = spawn('nsenter', args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.disconnect()
    await ended
  })
  const waiting = new Map<number, PromiseWithResolvers<unknown>>()
  const receive = ({ id, result, error }: { id: number; result?: unknown; error?: string }) => {
    if (error === undefined) waiting.get(id)?.resolve(result)
    else waiting.get(id)?.reject(new Error(error))
  }
  child.on('message', (message) => receive(message as Parameters<typeof receive>[0]))
  await once(child, 'message')
  let last = 0
  const act = (action: string, args: unknown): Promise<unknown> => {
    last += 1
    const answer = Promise.withResolvers<unknown>()
    waiting.set(last, answer)
    child.send({ id: last, action, args })
    return answer.promise
  }
  return { do: act as Do }
}
