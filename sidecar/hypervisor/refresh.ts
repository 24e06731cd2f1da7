/** What a guest is told when it wakes, so that it neither lives in the past nor repeats its random numbers. */

import { randomBytes } from 'node:crypto'

const TIMESPEC_BYTES = 16
const SEED_BYTES = 32
const BITS_PER_BYTE = 8
const NANOSECONDS_PER_MS = 1_000_000

/** In base64: struct timespec for clock_settime(2), then struct rand_pool_info for RNDADDENTROPY of random(4). */
export function formatRefresh(nowMs: number = Date.now()): string {
  const data = Buffer.alloc(TIMESPEC_BYTES + 8)
  data.writeBigInt64LE(BigInt(Math.floor(nowMs / 1_000)), 0)
  data.writeBigInt64LE(BigInt((nowMs % 1_000) * NANOSECONDS_PER_MS), 8)
  data.writeInt32LE(SEED_BYTES * BITS_PER_BYTE, TIMESPEC_BYTES)
  data.writeInt32LE(SEED_BYTES, TIMESPEC_BYTES + 4)
  return Buffer.concat([data, randomBytes(SEED_BYTES)]).toString('base64')
}
