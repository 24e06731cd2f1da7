/** TLS ClientHellos made by hand (RFC 8446 section 4.1.2), with any server name, version and suites, valid or not. */

import type { Socket } from 'node:net'
import { until } from './until.ts'

export interface Hello {
  /** Bytes of the server name as latin1 text; undefined sends no such extension. */
  readonly serverName?: string | undefined
  /** Where the name stands in the list of section 3 of RFC 6066; several names are not allowed. */
  readonly extraNames?: readonly string[]
  /** 0x0303 and so on; without TLS 1.3 the extension supported_versions is left out. */
  readonly version?: number
  readonly suites?: readonly number[]
  readonly protocols?: readonly string[]
}

export const TLS13 = 0x0304
export const TLS12 = 0x0303
export const TLS11 = 0x0302
export const TLS10 = 0x0301
export const SSL3 = 0x0300

const RECORD = { alert: 21, handshake: 22 } as const
const X25519 = 0x001d
const P256 = 0x0017
const MODERN = [0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030]
/** ecdsa_secp256r1_sha256, rsa_pss_rsae_sha256, rsa_pkcs1_sha256, ecdsa_secp384r1_sha384, ecdsa_sha1, rsa_pkcs1_sha1. */
const SIGNATURES = [0x0403, 0x0804, 0x0401, 0x0503, 0x0203, 0x0201]

/** One TLS record with a ClientHello. */
export function clientHello(hello: Hello = {}): Buffer {
  const { version = TLS13, suites = MODERN, protocols = [] } = hello
  const extensions = [
    ...(hello.serverName === undefined ? [] : [extension(0, serverNames(hello))]),
    extension(10, vector(2, Buffer.concat([X25519, P256].map((group) => uint(2, group))))),
    extension(11, vector(1, uint(1, 0))),
    extension(13, vector(2, Buffer.concat(SIGNATURES.map((scheme) => uint(2, scheme))))),
    ...(protocols.length === 0
      ? []
      : [extension(16, vector(2, Buffer.concat(protocols.map((name) => vector(1, Buffer.from(name))))))]),
    ...(version === TLS13 ? tls13Extensions() : []),
  ]
  const body = Buffer.concat([
    uint(2, Math.min(version, TLS12)),
    Buffer.alloc(32, 7),
    vector(1, Buffer.alloc(32, 9)),
    vector(2, Buffer.concat(suites.map((suite) => uint(2, suite)))),
    vector(1, uint(1, 0)),
    vector(2, Buffer.concat(extensions)),
  ])
  return record(RECORD.handshake, Buffer.concat([uint(1, 1), vector(3, body)]))
}

export function record(type: number, payload: Buffer, version: number = TLS10): Buffer {
  return Buffer.concat([uint(1, type), uint(2, version), vector(2, payload)])
}

export interface HelloAnswer {
  /** The server answered with its own hello. */
  readonly isAccepted: boolean
  /** The description of a fatal alert (RFC 8446 section 6). */
  readonly alert: number | undefined
  readonly isClosed: boolean
}

/** Sends bytes and tells what came first: a ServerHello, an alert, or the end of the connection. */
export async function sendHello(socket: Socket, bytes: Buffer): Promise<HelloAnswer> {
  let received: Buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk])
  })
  socket.write(bytes)
  const isClosed = () => socket.destroyed || socket.readableEnded
  await until(() => received.length >= 7 || isClosed(), 'an answer to the hello')
  const type = received[0]
  return {
    isAccepted: type === RECORD.handshake && received[5] === 2,
    alert: type === RECORD.alert ? received[6] : undefined,
    isClosed: isClosed(),
  }
}

function serverNames({ serverName = '', extraNames = [] }: Hello): Buffer {
  const entries = [serverName, ...extraNames].map((name) =>
    Buffer.concat([uint(1, 0), vector(2, Buffer.from(name, 'latin1'))]),
  )
  return vector(2, Buffer.concat(entries))
}

function tls13Extensions(): Buffer[] {
  const share = Buffer.concat([uint(2, X25519), vector(2, Buffer.alloc(32, 5))])
  return [
    extension(43, vector(1, Buffer.concat([uint(2, TLS13), uint(2, TLS12)]))),
    extension(45, vector(1, uint(1, 1))),
    extension(51, vector(2, share)),
  ]
}

function extension(type: number, payload: Buffer): Buffer {
  return Buffer.concat([uint(2, type), vector(2, payload)])
}

/** `payload` behind its length in `size` bytes. */
function vector(size: number, payload: Buffer): Buffer {
  return Buffer.concat([uint(size, payload.length), payload])
}

function uint(size: number, value: number): Buffer {
  const bytes = Buffer.alloc(size)
  bytes.writeUIntBE(value, 0, size)
  return bytes
}
