/** Keys of session tickets (RFC 5077) that all edges share through the store, so that a client resumes on any of them. */

import { HOUR_MS } from '../../lib/durations.ts'
import { KeyRotation } from '../../lib/key-rotation.ts'
import type { Log } from '../../lib/log.ts'
import type { Sealer } from '../../lib/seal.ts'
import type { CertificateTable, TicketKeyBook } from '../books.ts'
import { AcmeError } from '../errors.ts'
import type { TicketKeyRow } from '../rows.ts'
import { createTicketKeyRow, openTicketKey, type TicketKey } from './ticket-key.ts'
import { findSealing, isKnown, planTicketKey, TICKET_MS } from './ticket-rotation.ts'

export interface TicketKeysDeps {
  readonly table: Pick<CertificateTable, 'listTicketKeys' | 'onTicketKey'>
  readonly book: TicketKeyBook
  readonly sealer: Sealer
  readonly log: Log
}

export interface TicketKeysSettings {
  /** For how long a key seals new tickets; it opens them for a day more. At most 143 (RFC 8446 section 4.6.1). */
  readonly sealHours: number
  /** How long a start waits for the first key; default 5,000. */
  readonly firstKeyMs?: number
  /** Unix milliseconds. */
  readonly now?: () => number
}

/** Fits `TicketKeys` of proxy/certificates.ts. */
export interface TicketKeys {
  readonly sealing: TicketKey | undefined
  find(name: Buffer): TicketKey | undefined
}

export interface SharedTicketKeys extends TicketKeys, AsyncDisposable {
  /** Adds the key that is due, and takes those away that are not known any more. Done every 10 s. Never rejects. */
  rotate(): Promise<void>
}

const DAY_HOURS = 24
const FIRST_KEY_MS = 5_000
/** A ticket lives seven days at most. */
const MAX_SEAL_HOURS = 7 * DAY_HOURS - TICKET_MS / HOUR_MS - 1

/**
 * With an empty store it makes the first key, and returns when that one seals. With a store that is away it starts all
 * the same; without keys there are no tickets until the store answers. @throws AcmeError certificate_setting
 */
export async function startTicketKeys(
  deps: TicketKeysDeps,
  settings: TicketKeysSettings,
): Promise<SharedTicketKeys> {
  const { sealHours, firstKeyMs = FIRST_KEY_MS, now = Date.now } = settings
  if (!(sealHours > 0 && sealHours <= MAX_SEAL_HOURS))
    throw new AcmeError('certificate_setting', {
      detail: `A ticket's key seals for at most ${MAX_SEAL_HOURS} h`,
    })
  const keys = new RotatedTicketKeys(deps, { sealMs: sealHours * HOUR_MS, now })
  await keys.start(firstKeyMs)
  return keys
}

interface Settings {
  readonly sealMs: number
  readonly now: () => number
}

/** A row and its key; undefined where it cannot be opened here. */
interface Opened {
  readonly row: TicketKeyRow
  readonly key: TicketKey | undefined
}

class RotatedTicketKeys implements SharedTicketKeys {
  readonly #deps: TicketKeysDeps
  readonly #settings: Settings
  readonly #stop: () => void
  readonly #rotation: KeyRotation
  /** By the row's id, as long as the row is there. */
  #opened = new Map<string, Opened>()
  #byName = new Map<string, Opened>()
  #sealing: TicketKey | undefined

  constructor(deps: TicketKeysDeps, settings: Settings) {
    this.#deps = deps
    this.#settings = settings
    this.#stop = deps.table.onTicketKey(() => this.#read())
    this.#rotation = new KeyRotation({
      what: 'the keys of tickets',
      log: deps.log,
      isDue: () => planTicketKey(deps.table.listTicketKeys(), settings) !== undefined,
      addDue: () => this.#addDue(),
      isInUse: () => this.#sealing !== undefined,
      settle: () => this.#choose(),
      onChange: (ring) => deps.table.onTicketKey(ring),
    })
    this.#read()
  }

  get sealing(): TicketKey | undefined {
    return this.#sealing
  }

  find(name: Buffer): TicketKey | undefined {
    const opened = this.#byName.get(name.toString('latin1'))
    return opened !== undefined && isKnown(opened.row, this.#settings.now()) ? opened.key : undefined
  }

  start(limitMs: number): Promise<void> {
    return this.#rotation.start(limitMs)
  }

  rotate(): Promise<void> {
    return this.#rotation.rotate()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop()
    await this.#rotation[Symbol.asyncDispose]()
  }

  #read(): void {
    const opened = new Map<string, Opened>()
    for (const row of this.#deps.table.listTicketKeys()) {
      opened.set(row.id, this.#get(row))
    }
    this.#opened = opened
    this.#byName = new Map(
      [...opened.values()].flatMap((it) => (it.key ? [[it.key.name.toString('latin1'), it]] : [])),
    )
    this.#choose()
  }

  /** A failure is kept as well: it would be the same one again. */
  #get(row: TicketKeyRow): Opened {
    const before = this.#opened.get(row.id)
    return before === undefined ? this.#open(row) : { row, key: before.key }
  }

  #open(row: TicketKeyRow): Opened {
    try {
      return { row, key: openTicketKey(row, this.#deps.sealer) }
    } catch (error) {
      const message = "a ticket's key cannot be opened with the secret key of this edge; it is left out"
      this.#deps.log.error({ err: error, key: row.id }, message)
      return { row, key: undefined }
    }
  }

  #choose(): void {
    const usable = [...this.#opened.values()].filter(({ key }) => key !== undefined)
    const rows = usable.map(({ row }) => row)
    const sealing = findSealing(rows, this.#settings.now())
    this.#sealing = sealing === undefined ? undefined : this.#opened.get(sealing.id)?.key
  }

  async #addDue(): Promise<void> {
    const { book, sealer, log } = this.#deps
    const { keys, version } = await book.list()
    const plan = planTicketKey(keys, this.#settings)
    if (plan === undefined) return
    // An edge with another secret key would add one that no other edge can open. The log has it already.
    const known = keys.filter((row) => isKnown(row, this.#settings.now()))
    if (known.length > 0 && known.every((row) => this.#get(row).key === undefined)) return
    const row = createTicketKeyRow(sealer, plan)
    const ended = keys.filter((key) => !known.includes(key))
    const isAdded = await book.change({ put: [row], remove: ended.map(({ id }) => id) }, version)
    if (isAdded) log.info({ key: row.id, sealsFrom: row.sealsFrom }, 'a new key for tickets was made')
  }
}
