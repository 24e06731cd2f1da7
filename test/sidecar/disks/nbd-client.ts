/** A client of NBD (protocol.md of the NBD project) with one request at a time: how a test reads and writes a disk. */

import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { basename, dirname } from 'node:path'

const OPTION_MAGIC = 0x49484156454f5054n
const REQUEST_MAGIC = 0x25609513
const REPLY_MAGIC = 0x67446698
const EXPORT_NAME = 1
/** Fixed newstyle, and no zeroes behind the export's description. */
const CLIENT_FLAGS = 3
const READ = 0
const WRITE = 1
const DISCARD = 4
const FLUSH = 3
const NOTHING: Buffer = Buffer.alloc(0)

export interface NbdDisk {
  readonly sizeBytes: number
  read(offset: number, length: number): Promise<Buffer>
  write(offset: number, data: Buffer): Promise<void>
  discard(offset: number, length: number): Promise<void>
  flush(): Promise<void>
  close(): void
}

/** @throws Error when the connection ends, or the server refuses a request */
export async function connectNbd(path: string, name: string): Promise<NbdDisk> {
  await using folder = await open(dirname(path))
  const socket = connect(`/proc/self/fd/${folder.fd}/${basename(path)}`)
  const reader = new Reader(socket)
  await once(socket, 'connect')
  await reader.take(18)
  const hello = Buffer.alloc(20 + name.length)
  hello.writeUInt32BE(CLIENT_FLAGS, 0)
  hello.writeBigUInt64BE(OPTION_MAGIC, 4)
  hello.writeUInt32BE(EXPORT_NAME, 12)
  hello.writeUInt32BE(name.length, 16)
  hello.write(name, 20, 'latin1')
  socket.write(hello)
  const description = await reader.take(10)
  const call = async (type: number, { offset = 0, length = 0, data = NOTHING }) => {
    const head = Buffer.alloc(28)
    head.writeUInt32BE(REQUEST_MAGIC, 0)
    head.writeUInt16BE(type, 6)
    head.writeBigUInt64BE(BigInt(offset), 16)
    head.writeUInt32BE(length, 24)
    socket.write(Buffer.concat([head, data]))
    const reply = await reader.take(16)
    if (reply.readUInt32BE(0) !== REPLY_MAGIC) throw new Error('no NBD reply')
    const code = reply.readUInt32BE(4)
    if (code !== 0) throw new Error(`NBD request ${type} failed with ${code}`)
    return type === READ ? reader.take(length) : reply
  }
  return {
    sizeBytes: Number(description.readBigUInt64BE(0)),
    read: (offset, length) => call(READ, { offset, length }),
    write: async (offset, data) => void (await call(WRITE, { offset, length: data.length, data })),
    discard: async (offset, length) => void (await call(DISCARD, { offset, length })),
    flush: async () => void (await call(FLUSH, {})),
    close: () => socket.destroy(),
  }
}

class Reader {
  #data: Buffer = Buffer.alloc(0)
  #error: Error | undefined
  #wake = Promise.withResolvers<void>()

  constructor(socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.#data = Buffer.concat([this.#data, chunk])
      this.#wake.resolve()
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.#error = new Error('the NBD connection ended')
      this.#wake.resolve()
    })
  }

  async take(length: number): Promise<Buffer> {
    while (this.#data.length < length) {
      if (this.#error) throw this.#error
      this.#wake = Promise.withResolvers<void>()
      await this.#wake.promise
    }
    const taken = this.#data.subarray(0, length)
    this.#data = this.#data.subarray(length)
    return taken
  }
}
