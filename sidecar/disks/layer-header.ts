/** Looks at the first bytes of a layer before a program with our rights reads it: whoever served it may have written them. */

import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { SidecarError } from '../errors.ts'

/** Big endian, as QEMU's docs/interop/qcow2.txt has them. */
const MAGIC = 0x51_46_49_fb
const VERSION = 3
const HEADER_BYTES = 104
const VERSION_OFFSET = 4
const INCOMPATIBLE_OFFSET = 72
/** Dirty, corrupt, compression type, extended L2 entries: all but bit 2, an external data file, which may be any file. */
const KNOWN_FEATURES = 0b1_1011n

/** @throws SidecarError disk_failed for what is no qcow2 layer of ours, or names another file as its data */
export async function checkHeader(path: string): Promise<void> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  const header = Buffer.alloc(HEADER_BYTES)
  const { bytesRead } = await file.read(header, 0, HEADER_BYTES, 0)
  const isLayer =
    bytesRead === HEADER_BYTES &&
    header.readUInt32BE(0) === MAGIC &&
    header.readUInt32BE(VERSION_OFFSET) === VERSION &&
    (header.readBigUInt64BE(INCOMPATIBLE_OFFSET) & ~KNOWN_FEATURES) === 0n
  if (isLayer) return
  throw new SidecarError('disk_failed', {
    detail: `${path} is no layer of ours: what served it wrote its header.`,
  })
}
