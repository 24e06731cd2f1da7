/** Rows that carry a number to whoever asks the edge: each leads to a loopback address made of its number. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { ROUTES } from '../../routing/records/record-kinds.ts'
import type { Mutation, Store } from '../../routing/store/store.ts'

/** The platform's domain in these tests: two labels, so that one certificate covers all names. */
export const DOMAIN = 'faults.test'

/** Every address in 127.0.0.0/8 is this machine; the first two are left to others. */
const FIRST = 2
const MAX_NUMBER = 0xff_ff_00
const COMMIT_SIZE = 500
const DISTINCT_NUMBERS = 251

export interface NumberedRow {
  readonly hostname: string
  /** 0 to 16,776,960. */
  readonly number: number
}

/** Answers `<host> <number>`: the host that was asked for and the number of the row that led here. */
export async function numberedOriginFor(t: Test): Promise<number> {
  const server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
    request.resume()
    const number = toNumber(request.socket.localAddress ?? '')
    request.once('end', () => response.end(`${request.headers.host} ${number}`))
  })
  // It listens everywhere, since 127.0.0.1 alone would not do; nobody else is let in.
  server.on('connection', (socket) => {
    if (!socket.remoteAddress?.startsWith('127.')) socket.destroy()
  })
  server.listen(0, '0.0.0.0')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return (server.address() as AddressInfo).port
}

/** Numbers from 0 up; an edge keeps a connection open to each, so they begin anew after a few hundred. */
export function rowsNamed(name: string, count: number): NumberedRow[] {
  return Array.from({ length: count }, (_, index) => ({
    hostname: `${name}${index}.${DOMAIN}`,
    number: index % DISTINCT_NUMBERS,
  }))
}

export function toRecord({ hostname, number }: NumberedRow, originPort: number) {
  const upstream = { host: toAddress(number), port: originPort }
  const record = { hostname, visibility: 'public', state: 'running', generation: 0, upstream }
  return ROUTES.parse(record)
}

export function toMutation(row: NumberedRow, originPort: number): Mutation {
  const record = toRecord(row, originPort)
  return { key: ROUTES.keyOf(record), value: { ...record } }
}

export async function writeRows(
  store: Pick<Store, 'commit'>,
  rows: readonly NumberedRow[],
  originPort: number,
): Promise<void> {
  for (let start = 0; start < rows.length; start += COMMIT_SIZE) {
    const part = rows.slice(start, start + COMMIT_SIZE)
    await store.commit(part.map((row) => toMutation(row, originPort)))
  }
}

/** What the store holds: hostname to number, for names that begin with `name`. */
export async function readNumbers(store: Pick<Store, 'list'>, name: string): Promise<Map<string, number>> {
  const numbers = new Map<string, number>()
  const prefix = `${ROUTES.prefix}${name}`
  for (let after: string | undefined = ''; after !== undefined; ) {
    const page = await store.list(prefix, { after })
    for (const { key, value } of page.documents) {
      const { hostname, upstream } = ROUTES.parse(value, key)
      numbers.set(hostname, toNumber(upstream?.host ?? ''))
    }
    after = page.next
  }
  return numbers
}

function toAddress(number: number): string {
  if (number > MAX_NUMBER) throw new RangeError(`${number} has no address`)
  const value = number + FIRST
  return `127.${value >>> 16}.${(value >>> 8) & 255}.${value & 255}`
}

function toNumber(address: string): number {
  const [, high = 0, middle = 0, low = 0] = address.split('.').map(Number)
  return high * 65_536 + middle * 256 + low - FIRST
}
