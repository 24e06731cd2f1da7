/** Reads from an ELF file which libraries it needs, and points it at a loader and folders of ours. */

const MAGIC = Buffer.from('\x7fELF', 'latin1')
const SEGMENT_LOAD = 1
const SEGMENT_DYNAMIC = 2
const SEGMENT_INTERPRETER = 3
const TAG_NEEDED = 1n
const TAG_STRINGS = 5n

interface Segment {
  readonly kind: number
  readonly offset: number
  readonly address: number
  readonly bytes: number
}

/** The names in its DT_NEEDED entries; none for a static program. */
export function findNeededLibraries(file: Buffer): string[] {
  const segments = readSegments(file)
  const dynamic = segments.find(({ kind }) => kind === SEGMENT_DYNAMIC)
  if (!dynamic) return []
  const entries = Array.from({ length: Math.floor(dynamic.bytes / 16) }, (_, index) => {
    const at = dynamic.offset + index * 16
    return { tag: file.readBigInt64LE(at), value: Number(file.readBigUInt64LE(at + 8)) }
  })
  const strings = entries.find(({ tag }) => tag === TAG_STRINGS)?.value ?? 0
  const holder = segments.find(
    ({ kind, address, bytes }) => kind === SEGMENT_LOAD && strings >= address && strings < address + bytes,
  )
  if (!holder) return []
  const start = strings - holder.address + holder.offset
  return entries.filter(({ tag }) => tag === TAG_NEEDED).map(({ value }) => readString(file, start + value))
}

/** A copy that the kernel starts with this loader; the path may be no longer than the present one. */
export function withInterpreter(file: Buffer, loader: string): Buffer {
  const segment = readSegments(file).find(({ kind }) => kind === SEGMENT_INTERPRETER)
  if (!segment) return file
  return replaceAt(file, { at: segment.offset, room: segment.bytes, text: loader })
}

/**
 * A copy in which every C string `from` is `to`, which may be no longer.
 * @throws RangeError when it does not occur: the file is not the one that this was written for
 */
export function withString(file: Buffer, from: string, to: string): Buffer {
  const mark = Buffer.from(`\0${from}\0`, 'latin1')
  let result = file
  for (let at = file.indexOf(mark); at >= 0; at = file.indexOf(mark, at + 1)) {
    result = replaceAt(result, { at: at + 1, room: from.length + 1, text: to })
  }
  if (result === file) throw new RangeError(`${from} does not occur`)
  return result
}

function replaceAt(file: Buffer, { at, room, text }: { at: number; room: number; text: string }): Buffer {
  if (text.length >= room) throw new RangeError(`${text} is too long`)
  const copy = Buffer.from(file)
  copy.fill(0, at, at + room)
  copy.write(text, at, 'latin1')
  return copy
}

/** Program headers of a 64-bit file, elf(5). */
function readSegments(file: Buffer): Segment[] {
  if (!file.subarray(0, MAGIC.length).equals(MAGIC)) return []
  const start = Number(file.readBigUInt64LE(32))
  const size = file.readUInt16LE(54)
  return Array.from({ length: file.readUInt16LE(56) }, (_, index) => {
    const at = start + index * size
    return {
      kind: file.readUInt32LE(at),
      offset: Number(file.readBigUInt64LE(at + 8)),
      address: Number(file.readBigUInt64LE(at + 16)),
      bytes: Number(file.readBigUInt64LE(at + 32)),
    }
  })
}

function readString(file: Buffer, at: number): string {
  return file.toString('latin1', at, file.indexOf(0, at))
}
