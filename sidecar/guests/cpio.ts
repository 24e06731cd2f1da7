/** Writes cpio archives in the "newc" format that Linux unpacks at boot (Documentation/driver-api/early-userspace/buffer-format.rst). */

export interface CpioEntry {
  /** Without a slash at its start. */
  readonly path: string
  readonly kind: 'file' | 'folder' | 'link' | 'device'
  /** Permission bits. */
  readonly mode: number
  /** What a file holds, or where a link leads. */
  readonly data?: Uint8Array
  /** Major and minor number of a character device. */
  readonly device?: readonly [number, number]
}

const KIND_BITS = { file: 0o100000, folder: 0o040000, link: 0o120000, device: 0o020000 } as const
const MAGIC = '070701'
const TRAILER = 'TRAILER!!!'
const ALIGNMENT = 4
/** The whole is a multiple of this, as of tape blocks. */
const BLOCK_BYTES = 512

/** Everything belongs to root and has no time, so that the same entries give the same bytes. */
export function toCpio(entries: readonly CpioEntry[]): Buffer {
  const parts = entries.map((entry, index) => toRecord(entry, index + 1))
  parts.push(toRecord({ path: TRAILER, kind: 'file', mode: 0 }, 0))
  return pad(Buffer.concat(parts), BLOCK_BYTES)
}

function toRecord({ path, kind, mode, data = new Uint8Array(), device = [0, 0] }: CpioEntry, inode: number) {
  const name = Buffer.from(`${path}\0`)
  const fields = {
    inode,
    mode: path === TRAILER ? 0 : KIND_BITS[kind] | mode,
    uid: 0,
    gid: 0,
    links: kind === 'folder' ? 2 : 1,
    time: 0,
    size: data.length,
    deviceMajor: 0,
    deviceMinor: 0,
    ownMajor: device[0],
    ownMinor: device[1],
    nameSize: name.length,
    checksum: 0,
  }
  const header = Object.values(fields).map((value) => value.toString(16).padStart(8, '0'))
  const head = pad(Buffer.concat([Buffer.from(MAGIC + header.join('')), name]), ALIGNMENT)
  return Buffer.concat([head, pad(Buffer.from(data), ALIGNMENT)])
}

function pad(bytes: Buffer, multiple: number): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((multiple - (bytes.length % multiple)) % multiple)])
}
