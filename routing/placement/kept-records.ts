/** Records of one kind as a copy of the store keeps them: the newest of each, found by name or by what they are about. */

import type { Change } from '../store/store.ts'

interface Kept<Value> {
  readonly value: Value
  readonly revision: number
}

/** What a change did. */
export interface Put<Value> {
  readonly before: Value | undefined
  readonly after: Value | undefined
}

export interface KeptRules<Value> {
  /** Undefined for what need not be kept. @throws RecordInvalid, and then the record stays as it was */
  readonly parse: (change: Change) => Value | undefined
  /** Words under which `find` finds it. */
  readonly wordsOf?: (value: Value) => readonly string[]
}

export class KeptRecords<Value> {
  readonly #rules: KeptRules<Value>
  readonly #kept = new Map<string, Kept<Value>>()
  /** Names by word. */
  readonly #words = new Map<string, Set<string>>()

  constructor(rules: KeptRules<Value>) {
    this.#rules = rules
  }

  get size(): number {
    return this.#kept.size
  }

  get(name: string): Value | undefined {
    return this.#kept.get(name)?.value
  }

  *[Symbol.iterator](): Generator<readonly [string, Value]> {
    for (const [name, { value }] of this.#kept) yield [name, value]
  }

  /** As changes that would make them, under these names. */
  *changes(): Generator<{ readonly name: string } & Kept<Value>> {
    for (const [name, { value, revision }] of this.#kept) yield { name, value, revision }
  }

  find(word: string): readonly Value[] {
    const names = [...(this.#words.get(word) ?? [])]
    return names.flatMap((name) => {
      const kept = this.#kept.get(name)
      return kept === undefined ? [] : [kept.value]
    })
  }

  /** Undefined when nothing changed: it is held already, or need not be kept. @throws RecordInvalid */
  put(name: string, change: Change): Put<Value> | undefined {
    const before = this.#kept.get(name)
    if (before !== undefined && change.revision <= before.revision) return undefined
    const after = change.value === undefined ? undefined : this.#rules.parse(change)
    if (before === undefined && after === undefined) return undefined
    this.#set(name, after === undefined ? undefined : { value: after, revision: change.revision })
    return { before: before?.value, after }
  }

  /** Takes what the other copy has under the name, if it has anything. */
  takeFrom(other: KeptRecords<Value>, name: string): void {
    const last = other.#kept.get(name)
    if (last) this.#set(name, last)
  }

  #set(name: string, kept: Kept<Value> | undefined): void {
    const before = this.#kept.get(name)
    if (kept === undefined) this.#kept.delete(name)
    else this.#kept.set(name, kept)
    const { wordsOf } = this.#rules
    if (wordsOf === undefined) return
    if (before) for (const word of wordsOf(before.value)) this.#forget(word, name)
    if (kept) for (const word of wordsOf(kept.value)) this.#remember(word, name)
  }

  #remember(word: string, name: string): void {
    const names = this.#words.get(word)
    if (names) names.add(name)
    else this.#words.set(word, new Set([name]))
  }

  #forget(word: string, name: string): void {
    const names = this.#words.get(word)
    names?.delete(name)
    if (names?.size === 0) this.#words.delete(word)
  }
}
