/** A VM that reads what the edge sends in the strictest way and keeps what a VM must never get to see. */

import type { Socket } from 'node:net'
import type { Test } from 'tap'
import { rawOriginFor } from '../helpers/origin.ts'

export interface StrictVm {
  readonly port: number
  /** Requests whose head came whole, in the order of their arrival. */
  readonly requests: readonly SeenRequest[]
  /** What is no request as the edge may write it; one line each. */
  readonly faults: readonly string[]
}

export interface SeenRequest {
  /** The X-Request-Id that the edge gave it. */
  readonly id: string
  readonly method: string
  readonly target: string
  /** Bytes of body so far. */
  bytes: number
  isComplete: boolean
}

interface Reading {
  /** Where the bytes begin that are not read yet. */
  at: number
  open: SeenRequest | undefined
  framing: Framing
}

type Framing = { readonly kind: 'length'; readonly length: number } | { readonly kind: 'chunked' } | undefined

const REQUEST_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (\/[\x21-\x7e]*|\*) HTTP\/1\.1$/
const FIELD_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ?([\t\x20-\x7e\x80-\xff]*)$/
const CHUNK_LINE = /^([0-9a-f]{1,8})$/
/** Exactly one of each in every request. */
const ONCE = [
  'host',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-forwarded-port',
  'forwarded',
]
const ALSO_ONCE = ['via', 'x-request-id', 'traceparent', 'cdn-loop']
const NEVER = /^(keep-alive|proxy-connection|proxy-authorization|http2-settings|tracestate|x-landfall-.*)$/

/** CGI-like servers do not tell underscores from hyphens, so neither may come in the other's spelling. */
function isForbidden(name: string): boolean {
  const hyphened = name.replaceAll('_', '-')
  return NEVER.test(hyphened) || (name !== hyphened && [...ONCE, ...ALSO_ONCE].includes(hyphened))
}

/** `hosts` are the names under which requests may come. */
export async function strictVmFor(t: Test, hosts: readonly string[]): Promise<StrictVm> {
  const requests: SeenRequest[] = []
  const faults: string[] = []
  const readings: Reading[] = []
  const vm = await rawOriginFor(t, (socket, received, connection) => {
    readings[connection] ??= { at: 0, open: undefined, framing: undefined }
    const reading = readings[connection]
    try {
      while (reading !== undefined && readNext(reading, received, { socket, hosts, requests })) {}
    } catch (error) {
      faults.push(`${(error as Error).message} in ${JSON.stringify(received)}`)
      socket.destroy()
    }
  })
  return { port: vm.port, requests, faults }
}

interface Around {
  readonly socket: Socket
  readonly hosts: readonly string[]
  readonly requests: SeenRequest[]
}

/** Reads a head or a body; false when it must wait for more. @throws Error with what is wrong */
function readNext(reading: Reading, text: string, { socket, hosts, requests }: Around): boolean {
  if (reading.open === undefined) {
    const end = text.indexOf('\r\n\r\n', reading.at)
    if (end < 0) return false
    const { request, framing, expects } = readHead(text.slice(reading.at, end), hosts)
    requests.push(request)
    Object.assign(reading, { at: end + 4, open: request, framing })
    if (expects) socket.write('HTTP/1.1 100 Continue\r\n\r\n')
  }
  const { open } = reading
  if (open === undefined || !readBody(reading, open, text)) return false
  open.isComplete = true
  reading.open = undefined
  socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n${open.method === 'HEAD' ? '' : 'ok'}`)
  return true
}

function readHead(text: string, hosts: readonly string[]) {
  const [first = '', ...lines] = text.split('\r\n')
  const [, method = '', target = ''] = REQUEST_LINE.exec(first) ?? []
  if (method === '') throw new Error('no request line')
  const fields = lines.map(readLine)
  const all = (name: string) => fields.filter((field) => field.name === name).map(({ value }) => value)
  for (const name of [...ONCE, ...ALSO_ONCE])
    if (all(name).length !== 1) throw new Error(`${name} ${all(name).length} times`)
  const never = fields.find(({ name }) => isForbidden(name))
  if (never !== undefined) throw new Error(`the field ${never.name}`)
  const [host = '', [id = '']] = [all('host')[0], all('x-request-id')]
  if (!hosts.includes(host.toLowerCase().replace(/\.?(:\d+)?$/, ''))) throw new Error(`the host ${host}`)
  if (all('x-forwarded-for')[0] !== '127.0.0.1') throw new Error('a forged address')
  if (!/^[0-9a-f]{32}$/.test(id)) throw new Error('a forged id')
  const framing = readFraming(all('content-length'), all('transfer-encoding'))
  const request: SeenRequest = { id, method, target, bytes: 0, isComplete: false }
  return { request, framing, expects: all('expect').length > 0 }
}

function readLine(line: string): { name: string; value: string } {
  const [, name, value] = FIELD_LINE.exec(line) ?? []
  if (name === undefined || value === undefined) throw new Error(`the line ${JSON.stringify(line)}`)
  return { name: name.toLowerCase(), value }
}

function readFraming(lengths: readonly string[], codings: readonly string[]): Framing {
  if (lengths.length + codings.length > 1) throw new Error('two framings')
  const [length] = lengths
  if (length !== undefined && !/^(0|[1-9]\d{0,14})$/.test(length)) throw new Error(`the length ${length}`)
  if (codings.length > 0 && codings[0] !== 'chunked') throw new Error(`the coding ${codings[0]}`)
  if (codings.length > 0) return { kind: 'chunked' }
  return length === undefined ? undefined : { kind: 'length', length: Number(length) }
}

/** True when the body is whole. */
function readBody(reading: Reading, open: SeenRequest, text: string): boolean {
  if (reading.framing?.kind === 'chunked') return readChunks(reading, open, text)
  const length = reading.framing?.length ?? 0
  const taken = Math.min(length - open.bytes, text.length - reading.at)
  reading.at += taken
  open.bytes += taken
  return open.bytes === length
}

function readChunks(reading: Reading, open: SeenRequest, text: string): boolean {
  for (;;) {
    const lineEnd = text.indexOf('\r\n', reading.at)
    if (lineEnd < 0) return false
    const size = CHUNK_LINE.exec(text.slice(reading.at, lineEnd))?.[1]
    if (size === undefined)
      throw new Error(`the chunk line ${JSON.stringify(text.slice(reading.at, lineEnd))}`)
    const length = Number.parseInt(size, 16)
    if (length === 0) return readTrailers(reading, text, lineEnd)
    const end = lineEnd + 2 + length
    if (text.length < end + 2) return false
    if (text.slice(end, end + 2) !== '\r\n') throw new Error('a chunk that is longer than its size')
    open.bytes += length
    reading.at = end + 2
  }
}

function readTrailers(reading: Reading, text: string, lineEnd: number): boolean {
  const end = text.indexOf('\r\n\r\n', lineEnd)
  if (end < 0) return false
  const lines = text.slice(lineEnd + 2, Math.max(lineEnd + 2, end)).split('\r\n')
  for (const line of lines.filter((it) => it !== '')) {
    const { name } = readLine(line)
    if (/^(content-length|transfer-encoding|host|connection)$/.test(name) || isForbidden(name))
      throw new Error(`the trailer ${name}`)
  }
  reading.at = end + 4
  return true
}
