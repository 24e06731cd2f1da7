/** Entries of bytes outside of the heap. Each has a slot, a small number that stays its own while its bytes move. */

/** Small enough to be repacked in well under a millisecond. */
const SLAB_BITS = 18
const SLAB_BYTES = 1 << SLAB_BITS
/** Addresses have 32 bits: 4 GiB in all. */
const MAX_SLABS = 1 << (32 - SLAB_BITS)
/** Of an entry: its length with the head (4), its slot (4). */
const HEAD_BYTES = 8
const FIRST_SLOTS = 256

interface Slab {
  readonly number: number
  readonly bytes: Buffer
  /** Bytes that hold entries. */
  used: number
  /** Bytes of entries that no slot leads to any more. */
  dead: number
}

export class ByteSlabs {
  /** By number, from 1: no address is 0. */
  readonly #slabs: (Slab | undefined)[] = [undefined]
  readonly #freeNumbers: number[] = []
  readonly #freeSlots: number[] = []
  readonly #wasteful = new Set<Slab>()
  /** Of each slot; 0: it is free. */
  #addresses = new Uint32Array(FIRST_SLOTS)
  #slots = 1
  #tail: Slab | undefined
  #bytes = 0

  /** Of all slabs, full or not, and of what leads to entries. */
  get bytes(): number {
    return this.#bytes + this.#addresses.byteLength
  }

  /** Slots are numbers from 1 and below this. */
  get slotEnd(): number {
    return this.#slots
  }

  /** Returns the slot. @throws RangeError when it is longer than a slab, or 4 GiB are full */
  add(body: Buffer): number {
    const slab = this.#roomFor(HEAD_BYTES + body.length)
    const slot = this.#freeSlots.pop() ?? this.#newSlot()
    slab.bytes.writeUInt32LE(HEAD_BYTES + body.length, slab.used)
    slab.bytes.writeUInt32LE(slot, slab.used + 4)
    body.copy(slab.bytes, slab.used + HEAD_BYTES)
    this.#addresses[slot] = addressOf(slab, slab.used)
    slab.used += HEAD_BYTES + body.length
    return slot
  }

  /** What the entry is in; from `startOf` on, until something changes. */
  bytesOf(slot: number): Buffer {
    return this.#slabOf(this.#addresses[slot] ?? 0).bytes
  }

  startOf(slot: number): number {
    return placeIn(this.#addresses[slot] ?? 0) + HEAD_BYTES
  }

  isSame(slot: number, body: Buffer): boolean {
    const bytes = this.bytesOf(slot)
    const start = this.startOf(slot)
    const end = start - HEAD_BYTES + bytes.readUInt32LE(start - HEAD_BYTES)
    return end - start === body.length && bytes.compare(body, 0, body.length, start, end) === 0
  }

  /** The slot is free for another entry; call `tidy` when there is time. */
  delete(slot: number): void {
    const address = this.#addresses[slot] ?? 0
    const slab = this.#slabOf(address)
    slab.dead += slab.bytes.readUInt32LE(placeIn(address))
    this.#addresses[slot] = 0
    this.#freeSlots.push(slot)
    if (slab.dead === slab.used) this.#drop(slab)
    else if (slab.dead * 4 > SLAB_BYTES) this.#wasteful.add(slab)
  }

  /** Repacks one slab of which more than a quarter is dead; false when there is none left. */
  tidy(): boolean {
    const [slab] = this.#wasteful
    if (slab === undefined) return false
    if (this.#tail === slab) this.#tail = undefined
    for (let at = 0; at < slab.used; ) {
      const length = slab.bytes.readUInt32LE(at)
      const slot = slab.bytes.readUInt32LE(at + 4)
      if (this.#addresses[slot] === addressOf(slab, at))
        this.#move(slot, slab.bytes.subarray(at, at + length))
      at += length
    }
    this.#drop(slab)
    return this.#wasteful.size > 0
  }

  #move(slot: number, entry: Buffer): void {
    const slab = this.#roomFor(entry.length)
    entry.copy(slab.bytes, slab.used)
    this.#addresses[slot] = addressOf(slab, slab.used)
    slab.used += entry.length
  }

  #slabOf(address: number): Slab {
    const slab = this.#slabs[address >>> SLAB_BITS]
    if (slab === undefined) throw new RangeError('there is nothing in this slot')
    return slab
  }

  #newSlot(): number {
    if (this.#slots === this.#addresses.length) {
      const larger = new Uint32Array(2 * this.#addresses.length)
      larger.set(this.#addresses)
      this.#addresses = larger
    }
    this.#slots += 1
    return this.#slots - 1
  }

  #roomFor(length: number): Slab {
    const tail = this.#tail
    if (tail !== undefined && tail.used + length <= SLAB_BYTES) return tail
    if (length > SLAB_BYTES) throw new RangeError('the entry is too long')
    const number = this.#freeNumbers.pop() ?? this.#slabs.length
    if (number >= MAX_SLABS) throw new RangeError('the certificate table is full')
    const slab = { number, bytes: Buffer.allocUnsafeSlow(SLAB_BYTES), used: 0, dead: 0 }
    this.#slabs[number] = slab
    this.#bytes += SLAB_BYTES
    this.#tail = slab
    return slab
  }

  #drop(slab: Slab): void {
    if (this.#tail === slab) this.#tail = undefined
    this.#wasteful.delete(slab)
    this.#slabs[slab.number] = undefined
    this.#freeNumbers.push(slab.number)
    this.#bytes -= SLAB_BYTES
  }
}

function addressOf({ number }: Slab, at: number): number {
  return number * SLAB_BYTES + at
}

function placeIn(address: number): number {
  return address & (SLAB_BYTES - 1)
}
