/** Hashes of host names that nobody outside can foresee: tenants choose the names, and must not make them collide. */

import { randomBytes } from 'node:crypto'

/** An unsigned number of 32 bits. Only the low byte of each UTF-16 unit counts. */
export type NameHash = (name: string) => number

/** HalfSipHash-1-3 (Aumasson and Bernstein) with a key of 8 bytes, a random one by default. */
export function createNameHash(key: Buffer = randomBytes(8)): NameHash {
  const k0 = key.readInt32LE(0)
  const k1 = key.readInt32LE(4)
  return (name) => halfSip13(name, k0, k1)
}

const FINAL_ROUNDS = 3

function halfSip13(name: string, k0: number, k1: number): number {
  let v0 = k0
  let v1 = k1
  let v2 = 0x6c796765 ^ k0
  let v3 = 0x74656462 ^ k1
  const last = name.length >> 2
  for (let round = 0; round <= last + FINAL_ROUNDS; round += 1) {
    const word = round > last ? 0 : wordAt(name, round)
    if (round === last + 1) v2 ^= 0xff
    v3 ^= word
    v0 = (v0 + v1) | 0
    v2 = (v2 + v3) | 0
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (((v0 << 16) | (v0 >>> 16)) + v3) | 0
    v2 = (v2 + v1) | 0
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
    v2 = (v2 << 16) | (v2 >>> 16)
    v0 ^= word
  }
  return (v1 ^ v3) >>> 0
}

/** Four bytes, little-endian; the last word ends with the length. */
function wordAt(name: string, index: number): number {
  const at = index << 2
  const left = name.length - at
  if (left >= 4) {
    return (
      (name.charCodeAt(at) & 0xff) |
      ((name.charCodeAt(at + 1) & 0xff) << 8) |
      ((name.charCodeAt(at + 2) & 0xff) << 16) |
      (name.charCodeAt(at + 3) << 24)
    )
  }
  let word = name.length << 24
  for (let byte = 0; byte < left; byte += 1) word |= (name.charCodeAt(at + byte) & 0xff) << (byte << 3)
  return word
}
