/** A client of the NBD protocol with one request under way: what a disk takes without a guest before it. */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { BenchError } from '../frame/benchmark.ts'
import { BLOCK_BYTES, type Operation, type Timed, toMark } from './io-program.ts'

// Numbers of the protocol: doc/proto.md of the NetworkBlockDevice/nbd project.
const OPTION_MAGIC = 0x49484156454f5054n
const OPT_EXPORT_NAME = 1
const FLAGS_FIXED_NO_ZEROES = 3
const REQUEST_MAGIC = 0x25609513
const REPLY_MAGIC = 0x67446698
const CMD_READ = 0
const CMD_WRITE = 1
const FLAG_FUA = 1
const GREETING_BYTES = 18
const EXPORT_BYTES = 10
const REQUEST_BYTES = 28
const REPLY_BYTES = 16

export interface NbdClient extends Disposable {
  /** One block: milliseconds are turned to nanoseconds, as in a guest. @throws BenchError */
  run(operation: Operation, block: number, tag: number): Promise<Timed>
}

/** @throws BenchError when the server speaks something else */
export async function connectNbd(port: number, name: string): Promise<NbdClient> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  const reader = new Reader(socket)
  const greeting = await reader.read(GREETING_BYTES)
  if (greeting.readBigUInt64BE(8) !== OPTION_MAGIC) throw new BenchError('no NBD server answers')
  const option = Buffer.alloc(20)
  option.writeUInt32BE(FLAGS_FIXED_NO_ZEROES, 0)
  option.writeBigUInt64BE(OPTION_MAGIC, 4)
  option.writeUInt32BE(OPT_EXPORT_NAME, 12)
  option.writeUInt32BE(name.length, 16)
  socket.write(Buffer.concat([option, Buffer.from(name)]))
  await reader.read(EXPORT_BYTES)
  return {
    run: (operation, block, tag) => transfer({ socket, reader }, { operation, block, tag }),
    [Symbol.dispose]: () => void socket.destroy(),
  }
}

interface Wire {
  readonly socket: Socket
  readonly reader: Reader
}

interface Transfer {
  readonly operation: Operation
  readonly block: number
  readonly tag: number
}

async function transfer({ socket, reader }: Wire, { operation, block, tag }: Transfer): Promise<Timed> {
  const isRead = operation === 'read'
  const request = Buffer.alloc(REQUEST_BYTES)
  request.writeUInt32BE(REQUEST_MAGIC, 0)
  request.writeUInt16BE(operation === 'durable write' ? FLAG_FUA : 0, 4)
  request.writeUInt16BE(isRead ? CMD_READ : CMD_WRITE, 6)
  request.writeBigUInt64BE(BigInt(block) * BigInt(BLOCK_BYTES), 16)
  request.writeUInt32BE(BLOCK_BYTES, 24)
  const data = Buffer.alloc(isRead ? 0 : BLOCK_BYTES)
  if (!isRead) data.writeBigUInt64LE(toMark(block, tag))
  const startedAt = performance.now()
  socket.write(isRead ? request : Buffer.concat([request, data]))
  const reply = await reader.read(REPLY_BYTES)
  // Behind a refusal comes no data.
  if (reply.readUInt32BE(0) !== REPLY_MAGIC || reply.readUInt32BE(4) !== 0) {
    throw new BenchError(`the NBD server refused a ${operation}: error ${reply.readUInt32BE(4)}`)
  }
  const found = isRead ? await reader.read(BLOCK_BYTES) : data
  const nanos = (performance.now() - startedAt) * 1_000_000
  const mark = found.readBigUInt64LE()
  return { nanos, block: Number(mark / BigInt(BLOCK_BYTES)), tag: Number(mark % BigInt(BLOCK_BYTES)) }
}

/** So many bytes of a stream at a time. */
class Reader {
  #bytes = Buffer.alloc(0)
  #wake = () => {}
  #isOver = false

  constructor(socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk])
      this.#wake()
    })
    const end = () => {
      this.#isOver = true
      this.#wake()
    }
    socket.on('error', end).on('close', end)
  }

  async read(count: number): Promise<Buffer> {
    while (this.#bytes.length < count) {
      if (this.#isOver) throw new BenchError('the NBD server closed the connection')
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    const head = this.#bytes.subarray(0, count)
    this.#bytes = this.#bytes.subarray(count)
    return head
  }
}
