/** A responder on loopback with a table of the test's own, and datagrams and bytes as strangers send them. */

import { execFile } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { connect, type Socket } from 'node:net'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { type DnsResponder, type DnsResponderSettings, startDnsResponder } from '../../acme/dns/responder.ts'

export const ZONE = 'acme.example.test'

export interface ResponderScene extends DnsResponder, AsyncDisposable {
  /** Values by label. */
  readonly values: Map<string, readonly string[]>
  readonly table: { ready: boolean; ageMs: number }
  readonly warnings: string[]
}

export async function responderFor(
  t: Test,
  settings: Partial<DnsResponderSettings> = {},
): Promise<ResponderScene> {
  const values = new Map<string, readonly string[]>()
  const warnings: string[] = []
  const quiet = () => {}
  const log = {
    debug: quiet,
    info: quiet,
    warn: (_: unknown, text: string) => warnings.push(text),
    error: quiet,
  }
  const table = { ready: true, ageMs: 0, findTxt: (label: string) => values.get(label) ?? [] }
  const responder = await startDnsResponder(
    { table, log },
    {
      ...{ listen: { host: '127.0.0.1', port: 0 }, zone: ZONE },
      ...{ names: ['ns1.example.test', 'ns2.example.test'], ...settings },
    },
  )
  let isOpen = true
  const close = async () => {
    if (isOpen) await responder[Symbol.asyncDispose]()
    isOpen = false
  }
  t.teardown(close)
  const { port, counts } = responder
  return { port, counts, values, table, warnings, [Symbol.asyncDispose]: close }
}

const run = promisify(execFile)

/** What `dig` prints; one try, no retry over TCP for other reasons than truncation. */
export async function dig(port: number, ...words: readonly string[]): Promise<string> {
  const base = ['-r', '@127.0.0.1', '-p', String(port), '+tries=1', '+time=5', '+nostats']
  return (await run('dig', [...base, ...words])).stdout
}

/** The first answer to these datagrams; undefined when there is none until one to a last, plain query has come. */
export async function askOverUdp(port: number, ...queries: readonly Buffer[]): Promise<Buffer | undefined> {
  const socket = createSocket('udp4')
  const answers: Buffer[] = []
  const done = Promise.withResolvers<void>()
  socket.on('message', (answer) => {
    if (answer.equals(LAST_ANSWER)) done.resolve()
    else answers.push(answer)
  })
  for (const query of [...queries, LAST_QUERY]) socket.send(query, port, '127.0.0.1')
  await done.promise
  socket.close()
  return answers[0]
}

/** Every byte that comes back until the server ends the connection; `end` says when this side has said all. */
export async function askOverTcp(port: number, bytes: Buffer): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1')
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.on('error', () => {})
  socket.end(bytes)
  await endOf(socket)
  return Buffer.concat(chunks)
}

/** Resolves when the connection is over, well or not. */
export function endOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

/** An update, which is answered NOTIMP in 12 bytes. */
const LAST_QUERY = Buffer.from('fefe28000000000000000000', 'hex')
const LAST_ANSWER = Buffer.from('fefea8040000000000000000', 'hex')
