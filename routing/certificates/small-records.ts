/** Those of the followed records that are few: orders, challenges and the keys of session tickets. */

import { KeptRecords, type Put } from '../placement/kept-records.ts'
import type { ChallengeRecord, OrderRecord, TicketKeyRecord } from '../records/certificates.ts'
import { CHALLENGES, type Kind, ORDERS, TICKET_KEYS } from '../records/record-kinds.ts'
import type { Change } from '../store/store.ts'

/** Of whichever kind. */
interface SomeRecords {
  put(name: string, change: Change): Put<unknown> | undefined
  takeFrom(other: SomeRecords, name: string): void
  changes(): Iterable<{ readonly name: string; readonly value: unknown; readonly revision: number }>
}

export class SmallRecords {
  readonly orders = new KeptRecords<OrderRecord>({ parse: parserOf(ORDERS) })
  readonly challenges = new KeptRecords<ChallengeRecord>({
    parse: parserOf(CHALLENGES),
    wordsOf: (challenge) => [toWord(challenge)],
  })
  readonly ticketKeys = new KeptRecords<TicketKeyRecord>({ parse: parserOf(TICKET_KEYS) })
  readonly #byKind: ReadonlyMap<string, SomeRecords> = new Map<string, SomeRecords>([
    [ORDERS.prefix, this.orders],
    [CHALLENGES.prefix, this.challenges],
    [TICKET_KEYS.prefix, this.ticketKeys],
  ])

  #alpn = 0

  /** Whether there is any challenge of tls-alpn-01. */
  get hasAlpn(): boolean {
    return this.#alpn > 0
  }

  get size(): number {
    return this.orders.size + this.challenges.size + this.ticketKeys.size
  }

  /** As changes that would make them. */
  *changes(): Generator<Change> {
    for (const [prefix, records] of this.#byKind) {
      for (const { name, value, revision } of records.changes()) {
        yield { key: prefix + name, value: value as Change['value'], revision }
      }
    }
  }

  findChallenges(wanted: Pick<ChallengeRecord, 'type' | 'name' | 'token'>): readonly ChallengeRecord[] {
    return this.challenges.find(toWord(wanted))
  }

  /** Undefined when it is known already. @throws RecordInvalid */
  put(prefix: string, name: string, change: Change): Put<unknown> | undefined {
    const put = this.#byKind.get(prefix)?.put(name, change)
    if (prefix === CHALLENGES.prefix) this.#alpn += countAlpn(put?.after) - countAlpn(put?.before)
    return put
  }

  /** Keeps what `other` has of a record that cannot be read. */
  takeFrom(other: SmallRecords, prefix: string, name: string): void {
    const theirs = other.#byKind.get(prefix)
    if (theirs === undefined) return
    const before = this.challenges.get(name)
    this.#byKind.get(prefix)?.takeFrom(theirs, name)
    if (prefix === CHALLENGES.prefix) this.#alpn += countAlpn(this.challenges.get(name)) - countAlpn(before)
  }
}

function countAlpn(row: unknown): number {
  return (row as ChallengeRecord | undefined)?.type === 'tls-alpn-01' ? 1 : 0
}

/** What a client asks by: a token, or a name. */
function toWord({ type, name, token = '' }: Pick<ChallengeRecord, 'type' | 'name' | 'token'>): string {
  return `${type}/${type === 'http-01' ? token : name}`
}

function parserOf<Row>(kind: Kind<Row>): (change: Change) => Row {
  return ({ key, value }) => kind.parse(value, key)
}
