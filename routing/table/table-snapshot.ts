/** A table in memory as a file: written whole or not at all, and refused as a whole when a byte of it is wrong. */

import { createHash } from 'node:crypto'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { syncFolder } from '../../lib/private-file.ts'
import type { Position } from '../store/store.ts'

/**
 * Line by line: the head as JSON; for each row `<revision> <name> <JSON>`; at the end `end <SHA-256 of all bytes before,
 * hex>`.
 */
export interface SnapshotForm {
  /** What the head begins with; a file of another one is refused: `landfall-table/1`. */
  readonly format: string
  /** Names of the values in each row's JSON, where it is a list of them. */
  readonly fields?: readonly string[]
}

const END = /(?<=^|\n)end ([0-9a-f]{64})\n$/
const MAX_END_BYTES = 128
const NEWLINE = 10
const READ_BYTES = 262_144

export interface SnapshotHead {
  readonly storeId: string
  readonly position: Position
  /** When the rows were known to be what the store had; Unix milliseconds. */
  readonly freshAt: number
}

/** Neither `name` nor `json` has a line's end, and the name no space. */
export interface SnapshotRow {
  readonly revision: number
  readonly name: string
  readonly json: string
}

export interface SnapshotRows {
  readonly form: SnapshotForm
  /** Each piece is read at once. */
  pieces(): Iterable<Iterable<SnapshotRow>>
  /** Changes when all rows are replaced: the file would be a mixture. */
  readonly rebuilds: number
}

/** The file is not as it was written; the message says where. */
export class SnapshotDamaged extends Error {
  override readonly name = 'SnapshotDamaged'
}

/**
 * Writes about 250 kB in a turn of the event loop. Rows that change meanwhile may be newer than `head.position`: the
 * feed from there repeats them. False, and the file stays as it was, when `signal` aborts or all rows are replaced.
 * @throws Error of the file system
 */
export async function writeSnapshot(
  file: string,
  { head, rows, signal }: { head: SnapshotHead; rows: SnapshotRows; signal: AbortSignal },
): Promise<boolean> {
  const { rebuilds } = rows
  const isGivenUp = () => signal.aborted || rows.rebuilds !== rebuilds
  const temporary = `${file}.tmp`
  await rm(temporary, { force: true })
  const handle = await open(temporary, 'wx', 0o600)
  try {
    const isWhole = await writeAll(handle, toHeadLine(rows.form, head), { rows, isGivenUp })
    if (isWhole) await handle.sync()
    await handle.close()
    if (isWhole) await rename(temporary, file)
    if (isWhole) await syncFolder(dirname(file))
    return isWhole
  } finally {
    await handle.close().catch(() => {})
    await rm(temporary, { force: true })
  }
}

async function writeAll(
  handle: FileHandle,
  headLine: string,
  { rows, isGivenUp }: { rows: SnapshotRows; isGivenUp: () => boolean },
): Promise<boolean> {
  const hash = createHash('sha256')
  const write = async (text: string) => {
    const bytes = Buffer.from(text)
    hash.update(bytes)
    await handle.writeFile(bytes)
  }
  await write(headLine)
  for (const piece of rows.pieces()) {
    if (isGivenUp()) return false
    const lines = Array.from(piece, ({ revision, name, json }) => `${revision} ${name} ${json}\n`)
    await write(lines.join(''))
  }
  if (isGivenUp()) return false
  await handle.writeFile(`end ${hash.digest('hex')}\n`)
  return true
}

function toHeadLine(form: SnapshotForm, { storeId, position, freshAt }: SnapshotHead): string {
  const { revision, mark } = position
  const times = { savedAt: new Date().toISOString(), freshAt: new Date(freshAt).toISOString() }
  const { format, fields = [] } = form
  return `${JSON.stringify({ format, storeId, revision, mark, ...times, fields })}\n`
}

/** A line of the file, taken apart but not checked: the revision may be no number, the JSON may be none. */
export interface ReadRow extends SnapshotRow {
  /** Names of the values in `json`: another version may have had others. */
  readonly fields: readonly string[]
}

/**
 * Hands over the rows of a file whose format and checksum are right. A row may come twice; the later one counts.
 * @throws SnapshotDamaged, or an Error of the file system
 */
export async function readSnapshot(
  { file, format }: { readonly file: string; readonly format: string },
  addRow: (row: ReadRow) => void,
): Promise<SnapshotHead> {
  const handle = await open(file, 'r')
  try {
    const end = await readEnd(handle)
    const hash = createHash('sha256')
    for await (const bytes of readBytes(handle, end.start)) hash.update(bytes)
    if (hash.digest('hex') !== end.checksum) throw new SnapshotDamaged('its checksum is wrong')
    let opening: Opening | undefined
    for await (const line of readLines(handle, end.start)) {
      if (opening === undefined) opening = parseHead(line, format)
      else addRow(parseRow(line, opening.fields))
    }
    if (opening === undefined) throw new SnapshotDamaged('it is empty')
    return opening.head
  } finally {
    await handle.close()
  }
}

/** What the last line says, and where it starts. */
async function readEnd(handle: FileHandle) {
  const { size } = await handle.stat()
  const position = Math.max(0, size - MAX_END_BYTES)
  const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(MAX_END_BYTES), position })
  const [line, checksum] = END.exec(buffer.toString('latin1', 0, bytesRead)) ?? []
  if (line === undefined) throw new SnapshotDamaged('it has no end')
  return { start: size - line.length, checksum }
}

/** The first `length` bytes. Each piece has to be used before the next. */
async function* readBytes(handle: FileHandle, length: number): AsyncIterable<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES)
  for (let position = 0; position < length; ) {
    const piece = { buffer, position, length: Math.min(READ_BYTES, length - position) }
    const { bytesRead } = await handle.read(piece)
    if (bytesRead === 0) throw new SnapshotDamaged('it became shorter while it was read')
    position += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}

/** The lines within the first `length` bytes. */
async function* readLines(handle: FileHandle, length: number): AsyncIterable<string> {
  let begun: Buffer[] = []
  for await (const bytes of readBytes(handle, length)) {
    const whole = bytes.lastIndexOf(NEWLINE) + 1
    if (whole > 0) {
      const text = Buffer.concat([...begun, bytes.subarray(0, whole)]).toString()
      begun = []
      yield* text.split('\n').slice(0, -1)
    }
    begun.push(Buffer.from(bytes.subarray(whole)))
  }
}

function parseRow(line: string, fields: readonly string[]): ReadRow {
  const first = line.indexOf(' ')
  const second = line.indexOf(' ', first + 1)
  return {
    revision: Number(line.slice(0, first)),
    name: line.slice(first + 1, second),
    json: line.slice(second + 1),
    fields,
  }
}

interface Opening {
  readonly head: SnapshotHead
  readonly fields: readonly string[]
}

function parseHead(line: string, wanted: string): Opening {
  const { format, storeId, revision, mark, freshAt, fields } = parseObject(line)
  if (format !== wanted) throw new SnapshotDamaged(`it does not begin with ${wanted}`)
  const time = typeof freshAt === 'string' ? Date.parse(freshAt) : Number.NaN
  const isWhole = typeof storeId === 'string' && typeof mark === 'string' && Number.isSafeInteger(revision)
  const isNamed = Array.isArray(fields) && fields.every((name) => typeof name === 'string')
  if (!isWhole || !isNamed || Number.isNaN(time)) throw new SnapshotDamaged('its head is not whole')
  return { head: { storeId, position: { revision: revision as number, mark }, freshAt: time }, fields }
}

function parseObject(line: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(line))
  } catch (cause) {
    throw new SnapshotDamaged('its head is not JSON', { cause })
  }
}
