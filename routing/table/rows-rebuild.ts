/** New rows in the making beside the present ones; what stays as it is shares its bytes. */

import type { RouteRecord } from '../records/records.ts'
import type { NameHash } from './name-hash.ts'
import { RowAddresses } from './row-addresses.ts'
import { toRowJson } from './row-json.ts'
import { type RowSlabs, SlabGroup } from './row-slabs.ts'

export interface RowsRebuild {
  /** Does nothing when the new rows have the row as new already; so does `delete`. */
  set(record: RouteRecord, revision: number): void
  delete(hostname: string, revision: number): void
  /** Takes over the present row, unless there is a new one already. */
  keep(hostname: string): void
  finish(): void
}

interface RebuildParts {
  readonly slabs: RowSlabs
  readonly hash: NameHash
  readonly present: RowAddresses
  readonly onFinish: () => void
}

export class Rebuild implements RowsRebuild {
  readonly group = new SlabGroup()
  readonly addresses: RowAddresses
  readonly finish: () => void
  readonly #slabs: RowSlabs
  readonly #hash: NameHash
  readonly #present: RowAddresses

  constructor({ slabs, hash, present, onFinish }: RebuildParts) {
    this.addresses = new RowAddresses(slabs)
    this.finish = onFinish
    this.#slabs = slabs
    this.#hash = hash
    this.#present = present
  }

  set(record: RouteRecord, revision: number): void {
    const { hostname } = record
    const hash = this.#hash(hostname)
    if (this.#isAsNew(hash, hostname, revision)) return
    const json = toRowJson(record)
    const present = this.#present.find(hash, hostname)
    const isSame =
      present !== 0 && this.#slabs.revisionAt(present) === revision && this.#slabs.jsonAt(present) === json
    const address = isSame ? present : this.#slabs.append(this.group, { hash, hostname, revision, json })
    this.addresses.set(hash, hostname, address)
  }

  delete(hostname: string, revision: number): void {
    const hash = this.#hash(hostname)
    if (!this.#isAsNew(hash, hostname, revision)) this.addresses.delete(hash, hostname)
  }

  keep(hostname: string): void {
    const hash = this.#hash(hostname)
    const present = this.#present.find(hash, hostname)
    if (present !== 0 && this.addresses.find(hash, hostname) === 0) {
      this.addresses.set(hash, hostname, present)
    }
  }

  #isAsNew(hash: number, hostname: string, revision: number): boolean {
    const address = this.addresses.find(hash, hostname)
    return address !== 0 && revision <= this.#slabs.revisionAt(address)
  }
}
