/** The certificate table as rows of a snapshot, and back: what many certificates have alike is written once. */

import type { Log } from '../../lib/log.ts'
import { RefusalBook } from '../feed/refusal-book.ts'
import { isPast } from '../records/moments.ts'
import { CERTIFICATES, CHALLENGES } from '../records/record-kinds.ts'
import type { Change } from '../store/store.ts'
import { findSnapshot } from '../table/snapshot-keeper.ts'
import type { SnapshotForm, SnapshotHead, SnapshotRow, SnapshotRows } from '../table/table-snapshot.ts'
import { CertificateCopy, type CopyListener } from './certificate-copy.ts'

/**
 * A row's name is the record's key, its JSON the record's value. In the place of intermediates a certificate's `chain`
 * has numbers of rows `text/<number>`, which come before it.
 */
export const CERTIFICATE_FORM: SnapshotForm = { format: 'landfall-certificates/1' }

const TEXT_PREFIX = 'text/'
/** Of rows in a turn of the event loop: 1 to 2 ms. */
const PIECE_CHARACTERS = 131_072

type Value = NonNullable<Change['value']>

/** `now` in Unix milliseconds: challenges that have run out are left away. */
export function toSnapshotRows(
  copy: Pick<CertificateCopy, 'records' | 'rebuilds'>,
  now: () => number,
): SnapshotRows {
  return {
    form: CERTIFICATE_FORM,
    get rebuilds() {
      return copy.rebuilds
    },
    pieces: () => toPieces(copy.records(), now()),
  }
}

function* toPieces(records: Iterable<Change>, now: number): Generator<readonly SnapshotRow[]> {
  const texts = new Map<string, number>()
  let piece: SnapshotRow[] = []
  let characters = 0
  for (const change of records) {
    for (const row of toRows(change, texts, now)) {
      piece.push(row)
      characters += row.json.length
    }
    if (characters < PIECE_CHARACTERS) continue
    yield piece
    piece = []
    characters = 0
  }
  if (piece.length > 0) yield piece
}

/** `texts` are those that were written, by text. */
function toRows({ key, value, revision }: Change, texts: Map<string, number>, now: number): SnapshotRow[] {
  if (value === undefined || isOver(key, value, now)) return []
  if (!key.startsWith(CERTIFICATES.prefix)) return [{ revision, name: key, json: JSON.stringify(value) }]
  const rows: SnapshotRow[] = []
  const [leaf, ...intermediates] = value.chain as readonly string[]
  const numbers = intermediates.map((text) => {
    const known = texts.get(text)
    if (known !== undefined) return known
    const number = texts.size + 1
    texts.set(text, number)
    rows.push({ revision: 0, name: TEXT_PREFIX + number, json: JSON.stringify(text) })
    return number
  })
  rows.push({ revision, name: key, json: JSON.stringify({ ...value, chain: [leaf, ...numbers] }) })
  return rows
}

function isOver(key: string, value: Value, now: number): boolean {
  return key.startsWith(CHALLENGES.prefix) && isPast(String(value.expiresAt), new Date(now))
}

export interface Restoring extends CopyListener {
  /** Nothing is restored without one. */
  readonly file: string | undefined
  readonly what: string
  readonly log: Log
  /** Unix milliseconds. */
  readonly now: () => number
}

/** The copy with the records of the snapshot, if there is a sound one. A record that cannot be read is left out. */
export async function restoreCertificates(
  restoring: Restoring,
): Promise<{ readonly copy: CertificateCopy; readonly head: SnapshotHead | undefined }> {
  const { file, what, log, now } = restoring
  const copy = new CertificateCopy(restoring)
  if (file === undefined) return { copy, head: undefined }
  const refusals = new RefusalBook(log, `the snapshot of ${what}`)
  const texts = new Map<number, string>()
  const head = await findSnapshot({ file, form: CERTIFICATE_FORM, what, log }, (row) => {
    try {
      restoreRow(row, { copy, texts, now: now() })
    } catch (error) {
      refusals.add({ key: row.name, revision: row.revision }, error)
    }
  })
  // What a file gave that could not be read to its end is no copy.
  return head === undefined ? { copy: new CertificateCopy(restoring), head } : { copy, head }
}

interface RestoreParts {
  readonly copy: CertificateCopy
  /** Those that were read, by number. */
  readonly texts: Map<number, string>
  readonly now: number
}

/** @throws RecordInvalid, RangeError, SyntaxError */
function restoreRow({ revision, name, json }: SnapshotRow, { copy, texts, now }: RestoreParts): void {
  const value = JSON.parse(json)
  if (name.startsWith(TEXT_PREFIX)) {
    texts.set(Number(name.slice(TEXT_PREFIX.length)), String(value))
    return
  }
  if (isOver(name, Object(value), now)) return
  const isCertificate = name.startsWith(CERTIFICATES.prefix)
  copy.restore({ key: name, value: isCertificate ? withTexts(value, texts) : value, revision })
}

/** A number that leads nowhere stays one, and makes the record unreadable. */
function withTexts(value: unknown, texts: ReadonlyMap<number, string>): Value {
  const { chain, ...rest } = Object(value) as { readonly chain?: unknown }
  const parts: readonly unknown[] = Array.isArray(chain) ? chain : []
  return {
    ...rest,
    chain: parts.map((part) => (typeof part === 'number' ? (texts.get(part) ?? part) : part)),
  }
}
