/** The host's end of the channel to a guest's agent. Nothing that comes over it is believed of anybody but the guest. */

import type { Socket } from 'node:net'
import { Allowance } from '../allowance.ts'
import { SidecarError } from '../errors.ts'
import { readLines } from '../lines.ts'
import { type AgentWord, MAX_AGENT_CHARACTERS, parseAgentWord } from './agent-words.ts'

type Request = 'poweroff' | 'sync' | 'keys' | 'grow' | 'refresh'

export interface NetCounts {
  readonly connections: number
  readonly accepted: number
}

const TIME_LIMIT_MS = 10_000
const MAX_TRIES = 3
const UNKNOWN_REQUEST = 'unknown request'
/** An answer that nobody fetches stays in the socket's buffer; a guest that reads nothing gets nothing more. */
const MAX_UNREAD_BYTES = 65_536
/** A change of ports is written down, forwarded and reported, each port of it. */
const CHANGES_OF_PORTS = { burst: 20, everyMs: 500 }

export class Agent {
  readonly #socket: Socket
  readonly #pending = new Map<string, (word: AgentWord | undefined) => void>()
  readonly #netWaiters = new Set<(counts: NetCounts | undefined) => void>()
  #onPorts: ((ports: readonly number[]) => void) | undefined
  #ports: readonly number[] | undefined
  readonly #portChanges = new Allowance(CHANGES_OF_PORTS)
  #portTimer: NodeJS.Timeout | undefined
  #saidHello = false
  #nextId = 1

  constructor(socket: Socket) {
    this.#socket = socket
    readLines(socket, (line) => this.#take(line), { maxCharacters: MAX_AGENT_CHARACTERS })
  }

  /** Undefined until it has said so. */
  get ports(): readonly number[] | undefined {
    return this.#ports
  }

  get saidHello(): boolean {
    return this.#saidHello
  }

  get isClosed(): boolean {
    return this.#socket.destroyed
  }

  /** Asks for `hello` and `ports`, which an agent says of itself only once. */
  greet(): void {
    this.#send('hello')
  }

  /** One listener; called at each change, and with the last of many. */
  onPorts(listener: (ports: readonly number[]) => void): void {
    this.#onPorts = listener
  }

  /** Settles when the guest says that it is done. @throws SidecarError vm_agent_failed */
  async request(name: Request, argument?: string, timeoutMs = TIME_LIMIT_MS): Promise<void> {
    for (let tries = MAX_TRIES; ; tries -= 1) {
      const word = await this.#ask(name, argument, timeoutMs)
      if (word?.kind === 'done') return
      const why = word?.kind === 'failed' ? word.text : 'no answer'
      // A shell that stops reading for a moment may lose the beginning of a line.
      if (why === UNKNOWN_REQUEST && tries > 1) continue
      throw new SidecarError('vm_agent_failed', { detail: `${name}: ${why}` })
    }
  }

  async #ask(name: Request, argument: string | undefined, timeoutMs: number): Promise<AgentWord | undefined> {
    const id = String(this.#nextId++)
    const { promise, resolve } = Promise.withResolvers<AgentWord | undefined>()
    const timer = setTimeout(() => resolve(undefined), timeoutMs)
    this.#pending.set(id, resolve)
    this.#send([name, id, ...(argument === undefined ? [] : [argument])].join(' '))
    const word = await promise
    clearTimeout(timer)
    this.#pending.delete(id)
    return word
  }

  /** Undefined when the guest does not tell in time. */
  async countConnections(timeoutMs = 2_000): Promise<NetCounts | undefined> {
    const { promise, resolve } = Promise.withResolvers<NetCounts | undefined>()
    const timer = setTimeout(() => resolve(undefined), timeoutMs)
    this.#netWaiters.add(resolve)
    this.#send(`net ${this.#nextId++}`)
    const counts = await promise
    clearTimeout(timer)
    this.#netWaiters.delete(resolve)
    return counts
  }

  close(): void {
    this.#socket.destroy()
    clearTimeout(this.#portTimer)
    for (const give of this.#pending.values()) give(undefined)
    for (const give of this.#netWaiters) give(undefined)
  }

  #send(line: string): void {
    if (this.#socket.writableLength <= MAX_UNREAD_BYTES) this.#socket.write(`${line}\n`)
  }

  #take(line: string): void {
    const word = parseAgentWord(line)
    switch (word?.kind) {
      case 'hello':
        this.#saidHello = true
        break
      case 'ports':
        this.#takePorts(word.ports)
        break
      case 'net':
        for (const resolve of this.#netWaiters) resolve(word)
        break
      case 'done':
      case 'failed':
        this.#pending.get(word.id)?.(word)
        break
      default:
    }
  }

  #takePorts(ports: readonly number[]): void {
    if (this.#ports?.join() === ports.join()) return
    this.#ports = ports
    if (this.#portTimer) return
    const waitMs = this.#portChanges.take()
    if (waitMs === 0) this.#onPorts?.(ports)
    else this.#portTimer = setTimeout(() => this.#sayPorts(), waitMs).unref()
  }

  #sayPorts(): void {
    this.#portTimer = undefined
    this.#onPorts?.(this.#ports ?? [])
  }
}
