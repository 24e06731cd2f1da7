/** Certificates in memory, found by the names that they cover, each with when it is to be renewed. */

import type { CertificateRecord, KeyType } from '../records/certificates.ts'
import { CERTIFICATES, RENEWALS, toSlot } from '../records/record-kinds.ts'
import type { Change } from '../store/store.ts'
import type { KnownCertificate, KnownRenewal } from './known-certificate.ts'
import {
  createdAt,
  findRenewalAt,
  keyTypeAt,
  nameAt,
  namesAt,
  notAfterAt,
  notBeforeAt,
  readCertificate,
  revisionAt,
  sourceAt,
} from './packed-bytes.ts'
import { PackedRecords } from './packed-records.ts'
import type { RenewalSubject } from './renewal-of.ts'

/** RFC 1035 section 2.3.4. */
const MAX_NAME_CHARACTERS = 253
const NONE: readonly KnownCertificate[] = []

export interface RowsLoad {
  /** @throws RecordInvalid, RangeError */
  apply(change: Change): void
  keep(key: string): void
  /** `tell` is called with the name of each certificate that is another than before, once all is in place. */
  finish(tell?: (name: string) => void): void
}

export class CertificateRows {
  readonly #packed = new PackedRecords({ onDrop: (slot) => this.#detach(slot) })
  /** By slot; of those that somebody has asked for. */
  readonly #known: (PackedCertificate | undefined)[] = []

  get size(): number {
    return this.#packed.certificates
  }

  /** Outside of the heap. */
  get bytes(): number {
    return this.#packed.bytes
  }

  /** Exact names first, EC before RSA, then the one that is kept under the name itself, then the one that ends last. */
  find(hostname: string): readonly KnownCertificate[] {
    // A host name has no star: `*.example.test` itself is nobody's.
    if (hostname.length > MAX_NAME_CHARACTERS || hostname.includes('*')) return NONE
    const exact = this.#findNamed(hostname, hostname)
    const dot = hostname.indexOf('.')
    // RFC 9525 section 6.3: the star stands for exactly one whole label, the first.
    const wild = dot > 0 ? this.#findNamed(`*${hostname.slice(dot)}`, hostname) : NONE
    if (wild.length === 0) return exact
    // One that has both names is the same object in both.
    return exact.length === 0 ? wild : [...exact, ...wild.filter((known) => !exact.includes(known))]
  }

  get(slot: string): KnownCertificate | undefined {
    const found = this.#packed.find(CERTIFICATES.prefix + slot)
    return found === 0 ? undefined : this.#knownAt(found)
  }

  /** What changes meanwhile may be missing, or come twice. */
  *list(): Generator<KnownCertificate> {
    for (const slot of this.#packed.slots()) yield this.#knownAt(slot)
  }

  /** Certificates and renewals as changes that would make them; what changes meanwhile may be missing, or come twice. */
  changes(): Iterable<Change> {
    return this.#packed.changes()
  }

  /** True when a certificate is another one, or gone. @throws RecordInvalid, RangeError */
  apply(change: Change): boolean {
    return this.#packed.apply(change) && change.key.startsWith(CERTIFICATES.prefix)
  }

  startLoad(): RowsLoad {
    const load = this.#packed.startLoad()
    return {
      apply: load.apply,
      keep: load.keep,
      finish: (tell) =>
        load.finish(
          tell &&
            ((key) => {
              if (key.startsWith(CERTIFICATES.prefix)) tell(toName(key))
            }),
        ),
    }
  }

  /** Gives a bit of waste back; false when there is none left. */
  tidy(): boolean {
    return this.#packed.tidy()
  }

  #findNamed(name: string, hostname: string): readonly KnownCertificate[] {
    const slots = this.#packed.findNamed(name)
    if (slots.length === 0) return NONE
    const found = slots.map((slot) => this.#knownAt(slot))
    return found.length === 1 ? found : found.sort((one, other) => compare(one, other, hostname))
  }

  #knownAt(slot: number): KnownCertificate {
    const known = this.#known[slot]
    if (known !== undefined) return known
    const made = new PackedCertificate(this.#packed, slot)
    this.#known[slot] = made
    return made
  }

  #detach(slot: number): void {
    this.#known[slot]?.detach()
    this.#known[slot] = undefined
  }
}

/** 50 bytes of heap: what it says is read when it is asked for. */
class PackedCertificate implements KnownCertificate {
  readonly #packed: PackedRecords
  readonly #slot: number
  readonly revision: number
  /** Since it was replaced. */
  #last: CertificateRecord | undefined

  constructor(packed: PackedRecords, slot: number) {
    this.#packed = packed
    this.#slot = slot
    this.revision = revisionAt(packed.at(slot))
  }

  get name(): string {
    return this.#last?.name ?? nameAt(this.#place)
  }

  get keyType(): KeyType {
    return this.#last?.keyType ?? keyTypeAt(this.#place)
  }

  get names(): readonly string[] {
    return this.#last?.names ?? namesAt(this.#place)
  }

  get source(): CertificateRecord['source'] {
    return this.#last?.source ?? sourceAt(this.#place)
  }

  get notBeforeMs(): number {
    return this.#last === undefined ? notBeforeAt(this.#place) : Date.parse(this.#last.notBefore)
  }

  get notAfterMs(): number {
    return this.#last === undefined ? notAfterAt(this.#place) : Date.parse(this.#last.notAfter)
  }

  get renewal(): KnownRenewal | undefined {
    const slot = this.#packed.find(RENEWALS.prefix + toSlot(this))
    return slot === 0 ? undefined : findRenewalAt(this.#packed.at(slot), this.#subject, this.#packed.texts)
  }

  read(): CertificateRecord {
    return this.#last ?? readCertificate(this.#place, this.#packed.texts)
  }

  /** Its bytes are about to go. */
  detach(): void {
    this.#last = this.read()
  }

  get #place() {
    return this.#packed.at(this.#slot)
  }

  get #subject(): RenewalSubject {
    const createdAtMs = this.#last === undefined ? createdAt(this.#place) : Date.parse(this.#last.createdAt)
    return { notAfterMs: this.notAfterMs, createdAtMs }
  }
}

/** `example.test` of `certificate/example.test/ec` */
function toName(key: string): string {
  return key.slice(CERTIFICATES.prefix.length, key.lastIndexOf('/'))
}

function compare(one: KnownCertificate, other: KnownCertificate, hostname: string): number {
  return (
    Number(one.keyType === 'rsa') - Number(other.keyType === 'rsa') ||
    Number(other.name === hostname) - Number(one.name === hostname) ||
    other.notAfterMs - one.notAfterMs
  )
}
