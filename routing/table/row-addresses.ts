/** From hashes of host names to addresses of rows. */

import { createPairs, emptyCell, toDoubled } from '../hashed-pairs.ts'

/** Tells rows apart whose names have the same hash. */
export interface Names {
  isAt(address: number, hostname: string): boolean
}

/** A shard grows at once; this many of them keep that below a millisecond for millions of rows. */
const SHARD_BITS = 6
const FIRST_CELLS = 64
/** Of all cells: beyond it, names that are not there take too many steps. */
const MAX_FILL = 0.7

/** Addresses are numbers from 1 to 2^32 - 1; 0 stands for none. */
export class RowAddresses {
  readonly #shards: readonly Shard[]

  constructor(names: Names) {
    this.#shards = Array.from({ length: 1 << SHARD_BITS }, () => new Shard(names))
  }

  get size(): number {
    return this.#shards.reduce((sum, { size }) => sum + size, 0)
  }

  find(hash: number, hostname: string): number {
    return this.#shardOf(hash).find(hash, hostname)
  }

  /** Whether the table leads to the address, which is of a row with that hash. */
  has(hash: number, address: number): boolean {
    return this.#shardOf(hash).has(hash, address)
  }

  /** Adds the name, or gives it another address. */
  set(hash: number, hostname: string, address: number): void {
    this.#shardOf(hash).set(hash, hostname, address)
  }

  /** The row moved; does nothing when it is not there. */
  move(hash: number, from: number, to: number): void {
    this.#shardOf(hash).move(hash, from, to)
  }

  delete(hash: number, hostname: string): void {
    this.#shardOf(hash).delete(hash, hostname)
  }

  /** By the upper bits: the lower ones choose the cell. */
  #shardOf(hash: number): Shard {
    return this.#shards[hash >>> (32 - SHARD_BITS)] as Shard
  }
}

class Shard {
  readonly #names: Names
  /** Of hash and address. */
  #cells = createPairs(FIRST_CELLS)
  #mask = FIRST_CELLS - 1
  #size = 0

  constructor(names: Names) {
    this.#names = names
  }

  get size(): number {
    return this.#size
  }

  find(hash: number, hostname: string): number {
    return this.#cells[2 * this.#seek(hash, hostname) + 1] ?? 0
  }

  has(hash: number, address: number): boolean {
    return this.#seekAddress(hash, address) >= 0
  }

  set(hash: number, hostname: string, address: number): void {
    if (this.#size >= MAX_FILL * (this.#mask + 1)) this.#grow()
    const cell = this.#seek(hash, hostname)
    if (this.#cells[2 * cell + 1] === 0) this.#size += 1
    this.#cells[2 * cell] = hash
    this.#cells[2 * cell + 1] = address
  }

  move(hash: number, from: number, to: number): void {
    const cell = this.#seekAddress(hash, from)
    if (cell >= 0) this.#cells[2 * cell + 1] = to
  }

  delete(hash: number, hostname: string): void {
    const cell = this.#seek(hash, hostname)
    if (this.#cells[2 * cell + 1] === 0) return
    this.#size -= 1
    emptyCell(this.#cells, cell)
  }

  /** The cell of the name, or the empty one where it would stand. */
  #seek(hash: number, hostname: string): number {
    const cells = this.#cells
    for (let cell = hash & this.#mask; ; cell = (cell + 1) & this.#mask) {
      const address = cells[2 * cell + 1] ?? 0
      if (address === 0) return cell
      if (cells[2 * cell] === hash && this.#names.isAt(address, hostname)) return cell
    }
  }

  #seekAddress(hash: number, address: number): number {
    for (let cell = hash & this.#mask; ; cell = (cell + 1) & this.#mask) {
      const found = this.#cells[2 * cell + 1]
      if (found === address) return cell
      if (found === 0) return -1
    }
  }

  #grow(): void {
    this.#cells = toDoubled(this.#cells)
    this.#mask = this.#cells.length / 2 - 1
  }
}
