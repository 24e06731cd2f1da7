/** A static x86-64 program that times reads or writes of 4 KiB one by one: starting `dd` for each would take 10 ms under emulation. */

import { constants } from 'node:fs'
import { code, DATA_ADDRESS, int32, systemCall, toProgram } from '../../sidecar/guests/machine-code.ts'
import { BenchError } from '../frame/benchmark.ts'
import { assemble } from './assembly.ts'

export const BLOCK_BYTES = 4_096
const HEADER_BYTES = 16
const RECORD_BYTES = 16

// Numbers of system calls, arch/x86/entry/syscalls/syscall_64.tbl.
const SYS_READ = 0
const SYS_WRITE = 1
const SYS_OPEN = 2
const SYS_PREAD = 17
const SYS_PWRITE = 18
const SYS_EXIT = 60
const SYS_CLOCK_GETTIME = 228
const CLOCK_MONOTONIC = 1

/** A durable write is on the disk, through every cache, when it is over. */
export type Operation = 'read' | 'write' | 'durable write'

export interface Job {
  readonly operation: Operation
  /** Past the guest's own cache; not every file can. */
  readonly isDirect: boolean
  /** Numbers of blocks, in the order in which they are read or written. */
  readonly blocks: readonly number[]
  /** From 0 to 4,095: written beside each block's place; of a read, what no block holds. */
  readonly tag: number
}

export interface Timed {
  readonly nanos: number
  /** What the block said of itself. */
  readonly block: number
  readonly tag: number
}

/** What the program finds on its standard input: flags of open(2), a system call, then a mark for each block. */
export function toJobInput({ operation, isDirect, blocks, tag }: Job): Buffer {
  const { O_RDONLY, O_WRONLY, O_DIRECT, O_DSYNC } = constants
  const input = Buffer.alloc(HEADER_BYTES + 8 * blocks.length)
  const access = operation === 'read' ? O_RDONLY : O_WRONLY
  input.writeUInt32LE(access | (isDirect ? O_DIRECT : 0) | (operation === 'durable write' ? O_DSYNC : 0), 0)
  input.writeUInt32LE(operation === 'read' ? SYS_PREAD : SYS_PWRITE, 8)
  for (const [index, block] of blocks.entries()) {
    input.writeBigUInt64LE(toMark(block, tag), HEADER_BYTES + 8 * index)
  }
  return input
}

/** What a block begins with: its own place, and in the bits that a place has no use for, a tag. */
export function toMark(block: number, tag: number): bigint {
  return BigInt(block) * BigInt(BLOCK_BYTES) + BigInt(tag)
}

/** @throws BenchError when the program did not come to its end */
export function parseJobOutput(output: Buffer, { blocks }: Pick<Job, 'blocks'>): Timed[] {
  if (output.length !== blocks.length * RECORD_BYTES) {
    throw new BenchError(`${output.length / RECORD_BYTES} of ${blocks.length} blocks were read or written`)
  }
  return blocks.map((_, index) => {
    const mark = output.readBigUInt64LE(index * RECORD_BYTES + 8)
    return {
      nanos: Number(output.readBigUInt64LE(index * RECORD_BYTES)),
      block: Number(mark / BigInt(BLOCK_BYTES)),
      tag: Number(mark % BigInt(BLOCK_BYTES)),
    }
  })
}

/** `io PATH <input >output`; output has nanoseconds and what the block begins with, of each. Exits with 1 at any failure. */
export function toIoProgram(): Buffer {
  return toProgram(assemble([...open(), ...repeat(), ...exit()]))
}

/** ebp: the file. r12: the system call. The stack: at 0 the mark, at 16 and 32 two times, at 48 the record. */
function open() {
  return [
    code(0x58, 0x58, 0x5d), // pop rax; pop rax; pop rbp: argc, argv[0], argv[1]
    code(0x48, 0x83, 0xec, 0x40), // sub rsp, 64
    ...readInput(HEADER_BYTES),
    { jump: 'unless equal', to: 'fail' } as const,
    code(0x48, 0x89, 0xef), // mov rdi, rbp
    code(0x8b, 0x34, 0x24), // mov esi, [rsp]
    systemCall(SYS_OPEN),
    code(0x85, 0xc0), // test eax, eax
    { jump: 'if negative', to: 'fail' } as const,
    code(0x89, 0xc5), // mov ebp, eax
    code(0x44, 0x8b, 0x64, 0x24, 0x08), // mov r12d, [rsp + 8]
  ]
}

/** To the stack; equal afterwards when all of it came. */
function readInput(bytes: number) {
  return [
    code(0x31, 0xff), // xor edi, edi: standard input
    code(0x48, 0x89, 0xe6), // mov rsi, rsp
    code(0xba, int32(bytes)), // mov edx, bytes
    systemCall(SYS_READ),
    code(0x83, 0xf8, bytes), // cmp eax, bytes
  ]
}

function repeat() {
  return [
    { label: 'next' },
    ...readInput(8),
    { jump: 'unless equal', to: 'end' } as const,
    code(0x48, 0x8b, 0x04, 0x24), // mov rax, [rsp]
    code(0x48, 0x89, 0x04, 0x25, int32(DATA_ADDRESS)), // mov [DATA_ADDRESS], rax
    readClock(16),
    code(0x89, 0xef), // mov edi, ebp
    code(0xbe, int32(DATA_ADDRESS)), // mov esi, DATA_ADDRESS
    code(0xba, int32(BLOCK_BYTES)), // mov edx, 4096
    code(0x4c, 0x8b, 0x14, 0x24), // mov r10, [rsp]
    code(0x49, 0x81, 0xe2, int32(-BLOCK_BYTES)), // and r10, -4096: the place without the tag
    code(0x44, 0x89, 0xe0), // mov eax, r12d
    code(0x0f, 0x05), // syscall
    code(0x89, 0xc3), // mov ebx, eax
    readClock(32),
    code(0x81, 0xfb, int32(BLOCK_BYTES)), // cmp ebx, 4096
    { jump: 'unless equal', to: 'fail' } as const,
    ...writeRecord(),
    { jump: 'if equal', to: 'next' } as const,
    { jump: 'always', to: 'fail' } as const,
  ]
}

function readClock(at: number): Buffer {
  return Buffer.concat([
    code(0xbf, int32(CLOCK_MONOTONIC)), // mov edi, 1
    code(0x48, 0x8d, 0x74, 0x24, at), // lea rsi, [rsp + at]
    systemCall(SYS_CLOCK_GETTIME),
  ])
}

/** Equal afterwards when it was written. */
function writeRecord() {
  return [
    code(0x48, 0x8b, 0x44, 0x24, 0x20), // mov rax, [rsp + 32]: seconds
    code(0x48, 0x2b, 0x44, 0x24, 0x10), // sub rax, [rsp + 16]
    code(0x48, 0x69, 0xc0, int32(1_000_000_000)), // imul rax, rax, 1000000000
    code(0x48, 0x03, 0x44, 0x24, 0x28), // add rax, [rsp + 40]: nanoseconds
    code(0x48, 0x2b, 0x44, 0x24, 0x18), // sub rax, [rsp + 24]
    code(0x48, 0x89, 0x44, 0x24, 0x30), // mov [rsp + 48], rax
    code(0x48, 0x8b, 0x04, 0x25, int32(DATA_ADDRESS)), // mov rax, [DATA_ADDRESS]
    code(0x48, 0x89, 0x44, 0x24, 0x38), // mov [rsp + 56], rax
    code(0xbf, int32(1)), // mov edi, 1: standard output
    code(0x48, 0x8d, 0x74, 0x24, 0x30), // lea rsi, [rsp + 48]
    code(0xba, int32(RECORD_BYTES)), // mov edx, 16
    systemCall(SYS_WRITE),
    code(0x83, 0xf8, RECORD_BYTES), // cmp eax, 16
  ]
}

function exit() {
  return [
    { label: 'end' },
    code(0x85, 0xc0), // test eax, eax: nothing was left to read
    { jump: 'unless equal', to: 'fail' } as const,
    code(0x31, 0xff), // xor edi, edi
    systemCall(SYS_EXIT),
    { label: 'fail' },
    code(0xbf, int32(1)), // mov edi, 1
    systemCall(SYS_EXIT),
  ]
}
