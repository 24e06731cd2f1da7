/** A client of QMP, the control protocol of QEMU and of qemu-storage-daemon, over a unix socket. */

import type { Socket } from 'node:net'
import { basename } from 'node:path'
import { SidecarError } from '../errors.ts'
import { dialSocket } from '../hypervisor/unix-socket.ts'
import { paceOf } from '../lines.ts'

/** Data of an answer or an event: what came over the wire, unchecked. */
export type QmpData = Readonly<Record<string, unknown>>

export interface QmpConnectOptions {
  /** For the socket to appear, the greeting and the capabilities together; default 5,000. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /** Whose socket it has to be; ours when absent. */
  readonly uid?: number | undefined
}

export interface Qmp {
  /**
   * The `return` of the answer. Commands may be under way at the same time. After a timeout the command may still be
   * carried out. @throws SidecarError qmp_failed; its context has `command`, and `class` and `desc` when QMP refused it
   */
  execute(command: string, args?: QmpData, options?: { readonly timeoutMs?: number }): Promise<unknown>
  /** Calls `listener` with the `data` of each event of this name until the answered function is called. */
  onEvent(name: string, listener: (data: QmpData) => void): () => void
  /** Settles when the connection has ended, by whomever; never rejects. */
  readonly closed: Promise<void>
  close(): void
}

const CONNECT_TIMEOUT_MS = 5_000
const COMMAND_TIMEOUT_MS = 30_000
/** `query-named-block-nodes` of a chain of eight takes 12 kB. */
const MAX_MESSAGE_CHARACTERS = 2 * 1_048_576

/** Waits for the socket to appear: a program that was just started needs a moment. @throws SidecarError qmp_failed */
export async function connectQmp(path: string, options: QmpConnectOptions = {}): Promise<Qmp> {
  const { timeoutMs = CONNECT_TIMEOUT_MS, signal, uid } = options
  const limit = AbortSignal.any([AbortSignal.timeout(timeoutMs), ...(signal ? [signal] : [])])
  try {
    const socket = await dialSocket(path, { signal: limit, uid })
    return await negotiate(new QmpConnection(socket), limit)
  } catch (cause) {
    if (cause instanceof SidecarError) throw cause
    throw new SidecarError('qmp_failed', { cause, detail: `${basename(path)}: ${String(cause)}` })
  }
}

async function negotiate(connection: QmpConnection, limit: AbortSignal): Promise<Qmp> {
  const giveUp = () => connection.close()
  limit.addEventListener('abort', giveUp)
  try {
    await connection.greeted
    await connection.execute('qmp_capabilities')
    limit.throwIfAborted()
    return connection
  } catch (error) {
    connection.close()
    throw error
  } finally {
    limit.removeEventListener('abort', giveUp)
  }
}

interface Pending {
  readonly command: string
  readonly settle: (outcome: { readonly value: unknown } | { readonly error: SidecarError }) => void
}

class QmpConnection implements Qmp {
  readonly closed: Promise<void>
  /** Settles when the other end has said that it speaks QMP. */
  readonly greeted: Promise<void>
  readonly #socket: Socket
  readonly #pending = new Map<number, Pending>()
  readonly #listeners = new Map<string, Set<(data: QmpData) => void>>()
  readonly #greeting = Promise.withResolvers<void>()
  /** A VMM that was broken into may send events without end. */
  readonly #pace: (characters: number, lines: number) => void
  #nextId = 1
  #text = ''
  #error: unknown

  constructor(socket: Socket) {
    this.#socket = socket
    this.greeted = this.#greeting.promise
    this.greeted.catch(() => undefined)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.closed = promise
    this.#pace = paceOf(socket)
    socket.setEncoding('utf8')
    socket.on('data', (text: string) => this.#take(text))
    socket.on('error', (error) => {
      this.#error = error
    })
    const end = () => {
      this.#endAll()
      resolve()
    }
    // It may have ended in the moment between the connection and this.
    if (socket.closed) end()
    else socket.once('close', end)
  }

  execute(
    command: string,
    args: QmpData = {},
    options: { readonly timeoutMs?: number } = {},
  ): Promise<unknown> {
    const { timeoutMs = COMMAND_TIMEOUT_MS } = options
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    if (this.#socket.destroyed) return Promise.reject(this.#lost(command))
    const id = this.#nextId++
    const settle: Pending['settle'] = (outcome) => {
      clearTimeout(timer)
      this.#pending.delete(id)
      if ('error' in outcome) reject(outcome.error)
      else resolve(outcome.value)
    }
    const timer = setTimeout(() => settle({ error: tooLate(command, timeoutMs) }), timeoutMs)
    this.#pending.set(id, { command, settle })
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`)
    return promise
  }

  onEvent(name: string, listener: (data: QmpData) => void): () => void {
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners.add(listener))
    return () => listeners.delete(listener)
  }

  close(): void {
    this.#socket.destroy()
  }

  #take(text: string): void {
    const [first = '', ...rest] = text.split('\n')
    this.#pace(text.length, rest.length)
    this.#text += first
    for (const next of rest) {
      this.#takeLine(this.#text)
      this.#text = next
    }
    if (this.#text.length > MAX_MESSAGE_CHARACTERS) this.#refuse('a message is too long')
  }

  #takeLine(line: string): void {
    const message = line.length > MAX_MESSAGE_CHARACTERS ? undefined : parseMessage(line)
    if (!message) this.#refuse('a message is no JSON object, or too long')
    else if ('QMP' in message) this.#greeting.resolve()
    else if (typeof message.event === 'string') this.#announce(message.event, message.data)
    // An answer without our id refuses a message that was not understood.
    else if (typeof message.id !== 'number') this.#refuse('an answer has no id')
    else this.#answer(message.id, message)
  }

  /** One that nobody waits for came too late. */
  #answer(id: number, message: QmpData): void {
    const pending = this.#pending.get(id)
    pending?.settle(outcomeOf(pending.command, message))
  }

  #announce(name: string, data: unknown): void {
    for (const listener of this.#listeners.get(name) ?? []) listener(toData(data))
  }

  #refuse(what: string): void {
    this.#text = ''
    this.#socket.destroy(new Error(`not QMP: ${what}`))
  }

  #endAll(): void {
    this.#greeting.reject(this.#lost('greeting'))
    for (const { command, settle } of this.#pending.values()) settle({ error: this.#lost(command) })
  }

  #lost(command: string): SidecarError {
    const why = this.#error === undefined ? 'the connection ended' : String(this.#error)
    return new SidecarError('qmp_failed', {
      cause: this.#error,
      detail: `${command}: ${why}`,
      context: { command },
    })
  }
}

function outcomeOf(command: string, message: QmpData): Parameters<Pending['settle']>[0] {
  if ('return' in message) return { value: message.return }
  const { class: kind = 'GenericError', desc = 'no description' } = toData(message.error)
  const context = { command, class: String(kind), desc: String(desc) }
  return {
    error: new SidecarError('qmp_failed', {
      detail: `${command}: ${context.class}: ${context.desc}`,
      context,
    }),
  }
}

function tooLate(command: string, timeoutMs: number): SidecarError {
  return new SidecarError('qmp_failed', {
    detail: `${command}: no answer within ${timeoutMs} ms`,
    context: { command },
  })
}

function parseMessage(line: string): QmpData | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? { ...value } : undefined
  } catch {
    return undefined
  }
}

function toData(value: unknown): QmpData {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}
