/** Certificates and renewals as bytes: found by key or by name, and replaced as a whole when everything is loaded anew. */

import { CERTIFICATES, RENEWALS } from '../records/record-kinds.ts'
import type { Change } from '../store/store.ts'
import { createNameHash, type NameHash } from '../table/name-hash.ts'
import { ByteSlabs } from './byte-slabs.ts'
import { HashedSlots } from './hashed-slots.ts'
import {
  hasNameAt,
  isCertificateAt,
  isKeyAt,
  keyAt,
  namesAt,
  type Place,
  packCertificate,
  packRenewal,
  readCertificate,
  readRenewal,
  releaseTexts,
  revisionAt,
} from './packed-bytes.ts'
import { SharedTexts } from './shared-texts.ts'

export interface PackedRecordsSettings {
  /** Of a record that is not to be found any more; its bytes are still there. */
  readonly onDrop: (slot: number) => void
  readonly hash?: NameHash
}

export interface RecordsLoad {
  /** @throws RecordInvalid, RangeError */
  apply(change: Change): void
  keep(key: string): void
  /** `tell` is called with the key of everything that is another than before, once all is in place. */
  finish(tell?: (key: string) => void): void
}

/** Of a slot: in the records that are found, in those that a load gathers. */
const PRESENT = 1
const GATHERED = 2

export class PackedRecords {
  readonly texts = new SharedTexts()
  readonly #slabs = new ByteSlabs()
  readonly #hash: NameHash
  readonly #onDrop: (slot: number) => void
  #index = new HashedSlots()
  #marks = new Uint8Array(256)
  #certificates = 0
  #load: HashedSlots | undefined

  constructor({ onDrop, hash = createNameHash() }: PackedRecordsSettings) {
    this.#onDrop = onDrop
    this.#hash = hash
  }

  /** Of certificates alone. */
  get certificates(): number {
    return this.#certificates
  }

  /** Outside of the heap. */
  get bytes(): number {
    return this.#slabs.bytes + this.#index.bytes + this.#marks.byteLength
  }

  /** Until something changes. */
  at(slot: number): Place {
    return { bytes: this.#slabs.bytesOf(slot), start: this.#slabs.startOf(slot) }
  }

  /** The slot of what is stored under the key; 0: nothing is. */
  find(key: string): number {
    return this.#findIn(this.#index, key)
  }

  /** Of the certificates that have exactly this among their names. */
  findNamed(name: string): readonly number[] {
    return this.#index.find(this.#hash(name)).filter((slot) => hasNameAt(this.at(slot), name))
  }

  /** Of all certificates. */
  *slots(): Generator<number> {
    for (const slot of this.#presentSlots()) {
      if (isCertificateAt(this.at(slot))) yield slot
    }
  }

  /** All that is found, as changes that would make it. */
  *changes(): Generator<Change> {
    for (const slot of this.#presentSlots()) {
      const place = this.at(slot)
      const read = isCertificateAt(place) ? readCertificate : readRenewal
      yield { key: keyAt(place), value: { ...read(place, this.texts) }, revision: revisionAt(place) }
    }
  }

  /** False when it is known already. @throws RecordInvalid, RangeError */
  apply(change: Change): boolean {
    const before = this.find(change.key)
    if (before === 0 ? change.value === undefined : change.revision <= revisionAt(this.at(before)))
      return false
    const after = change.value === undefined ? 0 : this.#add(this.#pack(change))
    if (before !== 0) {
      this.#unlink(this.#index, before)
      this.#drop(before)
    }
    if (after !== 0) {
      this.#link(this.#index, after)
      this.#appear(after)
    }
    this.tidy()
    return true
  }

  /** What is found stays as it is until `finish`. A second call gives up the first load. */
  startLoad(): RecordsLoad {
    if (this.#load !== undefined) this.#giveUp()
    const index = new HashedSlots()
    this.#load = index
    return {
      apply: (change) => this.#gather(index, change),
      keep: (key) => {
        const present = this.find(key)
        if (present !== 0 && this.#findIn(index, key) === 0) this.#take(index, present)
      },
      finish: (tell) => this.#finish(index, tell),
    }
  }

  /** Gives a bit of waste back; false when there is none left. */
  tidy(): boolean {
    return this.#slabs.tidy()
  }

  *#presentSlots(): Generator<number> {
    for (let slot = 1; slot < this.#slabs.slotEnd; slot += 1) {
      if (((this.#marks[slot] ?? 0) & PRESENT) !== 0) yield slot
    }
  }

  #gather(index: HashedSlots, change: Change): void {
    const before = this.#findIn(index, change.key)
    if (before !== 0 && change.revision <= revisionAt(this.at(before))) return
    const after = change.value === undefined ? 0 : this.#addUnlessPresent(change)
    if (before !== 0) {
      this.#unlink(index, before)
      this.#marks[before] = (this.#marks[before] ?? 0) & ~GATHERED
      if (this.#marks[before] === 0) this.#free(before)
    }
    if (after !== 0) this.#take(index, after)
  }

  #addUnlessPresent(change: Change): number {
    const body = this.#pack(change)
    const present = this.find(change.key)
    if (present === 0 || !this.#slabs.isSame(present, body)) return this.#add(body)
    releaseTexts({ bytes: body, start: 0 }, this.texts)
    return present
  }

  #take(index: HashedSlots, slot: number): void {
    this.#link(index, slot)
    this.#mark(slot, (this.#marks[slot] ?? 0) | GATHERED)
  }

  #finish(index: HashedSlots, tell: ((key: string) => void) | undefined): void {
    if (this.#load !== index) throw new Error('this load was given up')
    this.#load = undefined
    this.#index = index
    // Keys of 100,000 records take 50 ms to read: only for somebody who wants to know.
    const changed: string[] = []
    for (let slot = 1; slot < this.#slabs.slotEnd; slot += 1) {
      const mark = this.#marks[slot]
      if (tell !== undefined && (mark === PRESENT || mark === GATHERED)) changed.push(keyAt(this.at(slot)))
      this.#settle(slot)
    }
    if (tell !== undefined) changed.forEach(tell)
  }

  /** What was gathered is present from now on, and nothing else is. */
  #settle(slot: number): void {
    const mark = this.#marks[slot]
    if (mark === PRESENT) this.#drop(slot)
    else if (mark === GATHERED) this.#appear(slot)
    else if (mark !== 0) this.#marks[slot] = PRESENT
  }

  #giveUp(): void {
    for (let slot = 1; slot < this.#slabs.slotEnd; slot += 1) {
      const mark = this.#marks[slot] ?? 0
      this.#marks[slot] = mark & ~GATHERED
      if (mark === GATHERED) this.#free(slot)
    }
    this.#load = undefined
  }

  /** @throws RecordInvalid */
  #pack({ key, value, revision }: Change): Buffer {
    return key.startsWith(RENEWALS.prefix)
      ? packRenewal(RENEWALS.parse(value, key), { key, revision }, this.texts)
      : packCertificate(CERTIFICATES.parse(value, key), { key, revision }, this.texts)
  }

  #add(body: Buffer): number {
    try {
      const slot = this.#slabs.add(body)
      this.#mark(slot, 0)
      return slot
    } catch (error) {
      releaseTexts({ bytes: body, start: 0 }, this.texts)
      throw error
    }
  }

  #appear(slot: number): void {
    this.#marks[slot] = PRESENT
    if (isCertificateAt(this.at(slot))) this.#certificates += 1
  }

  #drop(slot: number): void {
    this.#onDrop(slot)
    if (isCertificateAt(this.at(slot))) this.#certificates -= 1
    this.#free(slot)
  }

  #free(slot: number): void {
    releaseTexts(this.at(slot), this.texts)
    this.#marks[slot] = 0
    this.#slabs.delete(slot)
  }

  #mark(slot: number, mark: number): void {
    if (slot >= this.#marks.length) {
      const larger = new Uint8Array(2 * slot)
      larger.set(this.#marks)
      this.#marks = larger
    }
    this.#marks[slot] = mark
  }

  #findIn(index: HashedSlots, key: string): number {
    return index.find(this.#hash(key)).find((slot) => isKeyAt(this.at(slot), key)) ?? 0
  }

  #link(index: HashedSlots, slot: number): void {
    for (const hash of this.#hashesOf(slot)) index.add(hash, slot)
  }

  #unlink(index: HashedSlots, slot: number): void {
    for (const hash of this.#hashesOf(slot)) index.delete(hash, slot)
  }

  #hashesOf(slot: number): readonly number[] {
    const place = this.at(slot)
    return [keyAt(place), ...namesAt(place)].map(this.#hash)
  }
}
