/** Puts a few instructions into a static x86-64 program, for the two things that neither a shell nor Node can do. */

const LOAD_ADDRESS = 0x400000
const ELF_HEADER_BYTES = 64
const PROGRAM_HEADER_BYTES = 56
const CODE_AT = ELF_HEADER_BYTES + PROGRAM_HEADER_BYTES
const PAGE_BYTES = 0x1000

/** A page of zeros behind the code, for data. */
export const DATA_ADDRESS = LOAD_ADDRESS + PAGE_BYTES

/** The program begins with the first byte of `code`, of which there may be 3 KiB. */
export function toProgram(code: Buffer): Buffer {
  return Buffer.concat([toElfHeader(), toProgramHeader(CODE_AT + code.length), code])
}

/** `mov eax, number; syscall`: arguments are in rdi, rsi and rdx, the result is in rax; rcx and r11 are lost. */
export function systemCall(number: number): Buffer {
  return code(0xb8, int32(number), 0x0f, 0x05)
}

/** Bytes of an instruction, its operands as `int32` gives them. */
export function code(...parts: readonly (number | readonly number[])[]): Buffer {
  return Buffer.from(parts.flat())
}

/** Lowest byte first. */
export function int32(value: number): readonly number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, (value >>> 24) & 0xff]
}

/** Fields of Elf64_Ehdr, elf(5). */
function toElfHeader(): Buffer {
  const header = Buffer.alloc(ELF_HEADER_BYTES)
  header.write('\x7fELF', 'latin1')
  header.set([2, 1, 1], 4) // 64 bits, lowest byte first, version 1
  header.writeUInt16LE(2, 16) // an executable at a fixed address
  header.writeUInt16LE(62, 18) // x86-64
  header.writeUInt32LE(1, 20) // version 1
  header.writeBigUInt64LE(BigInt(LOAD_ADDRESS + CODE_AT), 24) // where it begins
  header.writeBigUInt64LE(BigInt(ELF_HEADER_BYTES), 32) // program headers follow
  header.writeUInt16LE(ELF_HEADER_BYTES, 52)
  header.writeUInt16LE(PROGRAM_HEADER_BYTES, 54)
  header.writeUInt16LE(1, 56) // one of them
  return header
}

/** The file as it is, readable, writable and executable, with a page of zeros behind it. */
function toProgramHeader(fileBytes: number): Buffer {
  const header = Buffer.alloc(PROGRAM_HEADER_BYTES)
  header.writeUInt32LE(1, 0) // to be loaded
  header.writeUInt32LE(7, 4) // read, write, execute
  header.writeBigUInt64LE(BigInt(LOAD_ADDRESS), 16)
  header.writeBigUInt64LE(BigInt(LOAD_ADDRESS), 24)
  header.writeBigUInt64LE(BigInt(fileBytes), 32)
  header.writeBigUInt64LE(BigInt(2 * PAGE_BYTES), 40)
  header.writeBigUInt64LE(BigInt(PAGE_BYTES), 48)
  return header
}
