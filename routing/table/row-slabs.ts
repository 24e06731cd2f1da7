/** Rows as bytes in slabs outside of the heap; an address is a slab's number and a place in it. */

/** What one row is made of. */
export interface PackedRow {
  readonly hash: number
  /** ASCII, 255 characters at most. */
  readonly hostname: string
  readonly revision: number
  /** As row-json.ts makes it. */
  readonly json: string
}

/** Small enough to be repacked in well under a millisecond. */
const SLAB_BITS = 18
const SLAB_BYTES = 1 << SLAB_BITS
/** Numbers from 1, so that no address is 0. */
const MAX_SLABS = 1 << (32 - SLAB_BITS)
/** Memory of slabs that were given up; without it, it would lie about until the collector's next full round. */
const SPARE_SLABS = 4

/** Of an entry: hash (4), revision (8, a double), length of the name (1), length of the JSON (3); name and JSON follow. */
const HEAD_BYTES = 16
const MAX_JSON_BYTES = 2 ** 24 - 1

export class Slab {
  readonly number: number
  readonly bytes: Buffer
  readonly view: DataView
  /** Bytes that hold entries. */
  used = 0
  /** Bytes of entries that nothing leads to any more. */
  dead = 0

  constructor(number: number, bytes: Buffer) {
    this.number = number
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** A quarter: slabs then are 87% full on average when rows change evenly. */
  get isWasteful(): boolean {
    return this.dead * 4 > this.bytes.length
  }

  /** The addresses of its entries, dead ones among them. */
  *addresses(): IterableIterator<number> {
    for (let at = 0; at < this.used; at += entryBytes(this.view, at)) yield addressOf(this, at)
  }
}

/** Slabs that are filled one after the other, in the order in which they were begun. */
export class SlabGroup {
  readonly slabs = new Set<Slab>()
  /** The one that takes more entries. */
  tail: Slab | undefined
}

export class RowSlabs {
  /** By number. */
  readonly #slabs: (Slab | undefined)[] = [undefined]
  readonly #freeNumbers: number[] = []
  readonly #spare: Buffer[] = []
  #bytes = 0

  /** Of all slabs, full or not. */
  get bytes(): number {
    return this.#bytes
  }

  /** Returns the address. @throws RangeError when the row is too long or 4 GiB are full */
  append(group: SlabGroup, { hash, hostname, revision, json }: PackedRow): number {
    const jsonBytes = Buffer.byteLength(json)
    if (hostname.length > 255 || jsonBytes > MAX_JSON_BYTES) throw new RangeError('the row is too long')
    const slab = this.#roomFor(group, HEAD_BYTES + hostname.length + jsonBytes)
    const { view, bytes, used } = slab
    view.setUint32(used, hash)
    view.setFloat64(used + 4, revision)
    view.setUint32(used + 12, hostname.length * 2 ** 24 + jsonBytes)
    bytes.write(hostname, used + HEAD_BYTES, 'latin1')
    bytes.write(json, used + HEAD_BYTES + hostname.length, 'utf8')
    slab.used = used + HEAD_BYTES + hostname.length + jsonBytes
    return addressOf(slab, used)
  }

  /** Copies an entry as it is; returns its new address. */
  copy(group: SlabGroup, address: number): number {
    const from = this.#slabOf(address)
    const at = placeIn(address)
    const length = entryBytes(from.view, at)
    const slab = this.#roomFor(group, length)
    from.bytes.copy(slab.bytes, slab.used, at, at + length)
    slab.used += length
    return addressOf(slab, slab.used - length)
  }

  isAt(address: number, hostname: string): boolean {
    const { view } = this.#slabOf(address)
    const at = placeIn(address)
    const { length } = hostname
    if (view.getUint8(at + 12) !== length) return false
    for (let index = 0; index < length; index += 1) {
      if (view.getUint8(at + HEAD_BYTES + index) !== hostname.charCodeAt(index)) return false
    }
    return true
  }

  hashAt(address: number): number {
    return this.#slabOf(address).view.getUint32(placeIn(address))
  }

  revisionAt(address: number): number {
    return this.#slabOf(address).view.getFloat64(placeIn(address) + 4)
  }

  setRevision(address: number, revision: number): void {
    this.#slabOf(address).view.setFloat64(placeIn(address) + 4, revision)
  }

  /** A string of its own, which keeps no longer text alive. */
  hostnameAt(address: number): string {
    const { bytes } = this.#slabOf(address)
    const start = placeIn(address) + HEAD_BYTES
    return bytes.toString('latin1', start, start + bytes.readUInt8(start - 4))
  }

  jsonAt(address: number): string {
    const { bytes, view } = this.#slabOf(address)
    const at = placeIn(address)
    const end = at + entryBytes(view, at)
    return bytes.toString('utf8', at + HEAD_BYTES + view.getUint8(at + 12), end)
  }

  rowAt(address: number): PackedRow {
    return {
      hash: this.hashAt(address),
      hostname: this.hostnameAt(address),
      revision: this.revisionAt(address),
      json: this.jsonAt(address),
    }
  }

  /** Counts the entry as dead; returns its slab. */
  free(address: number): Slab {
    const slab = this.#slabOf(address)
    slab.dead += entryBytes(slab.view, placeIn(address))
    return slab
  }

  drop(group: SlabGroup, slab: Slab): void {
    group.slabs.delete(slab)
    if (group.tail === slab) group.tail = undefined
    this.#slabs[slab.number] = undefined
    this.#freeNumbers.push(slab.number)
    this.#bytes -= slab.bytes.length
    if (slab.bytes.length === SLAB_BYTES && this.#spare.length < SPARE_SLABS) this.#spare.push(slab.bytes)
  }

  dropAll(group: SlabGroup): void {
    for (const slab of group.slabs) this.drop(group, slab)
  }

  #slabOf(address: number): Slab {
    return this.#slabs[address >>> SLAB_BITS] as Slab
  }

  #roomFor(group: SlabGroup, length: number): Slab {
    const { tail } = group
    if (tail !== undefined && tail.used + length <= tail.bytes.length) return tail
    const slab = this.#begin(length)
    group.slabs.add(slab)
    group.tail = slab
    return slab
  }

  /** An entry that is longer than a slab gets one of its own length. */
  #begin(length: number): Slab {
    const number = this.#freeNumbers.pop() ?? this.#slabs.length
    if (number >= MAX_SLABS) throw new RangeError('the route table is full')
    const spare = length <= SLAB_BYTES ? this.#spare.pop() : undefined
    const slab = new Slab(number, spare ?? Buffer.allocUnsafeSlow(Math.max(length, SLAB_BYTES)))
    this.#slabs[number] = slab
    this.#bytes += slab.bytes.length
    return slab
  }
}

function entryBytes(view: DataView, at: number): number {
  const lengths = view.getUint32(at + 12)
  return HEAD_BYTES + (lengths >>> 24) + (lengths & MAX_JSON_BYTES)
}

function addressOf({ number }: Slab, at: number): number {
  return number * SLAB_BYTES + at
}

function placeIn(address: number): number {
  return address & (SLAB_BYTES - 1)
}
