/** A static x86-64 program of 200 bytes that sets the clock and gives the kernel fresh randomness: no shell can do it. */

import { code, DATA_ADDRESS, int32, systemCall, toProgram } from './machine-code.ts'

/** What it reads: struct timespec, then struct rand_pool_info with 32 random bytes. */
export const REFRESH_INPUT_BYTES = 56
const RANDOM_BYTES = 32
const SEED_AT = 16

// ioctl numbers of linux/random.h.
const RNDADDENTROPY = 0x40085203
const RNDRESEEDCRNG = 0x5207

// Numbers of system calls, arch/x86/entry/syscalls/syscall_64.tbl.
const SYS_READ = 0
const SYS_OPEN = 2
const SYS_IOCTL = 16
const SYS_EXIT = 60
const SYS_CLOCK_SETTIME = 227

/** What the program is to be given for this moment. */
export function toRefreshInput(nowMs: number, random: Uint8Array): Buffer {
  if (random.length !== RANDOM_BYTES) throw new RangeError(`${RANDOM_BYTES} random bytes are needed`)
  const input = Buffer.alloc(REFRESH_INPUT_BYTES)
  input.writeBigInt64LE(BigInt(Math.floor(nowMs / 1000)), 0)
  input.writeBigInt64LE(BigInt(Math.floor((nowMs % 1000) * 1_000_000)), 8)
  input.writeInt32LE(RANDOM_BYTES * 8, SEED_AT)
  input.writeInt32LE(RANDOM_BYTES, SEED_AT + 4)
  input.set(random, SEED_AT + 8)
  return input
}

/** Exits with 0 when clock and seed are set; with 1 when its input is too short or it is not root. */
export function toRefreshProgram(): Buffer {
  return toProgram(toCode())
}

/** rbx: bytes read so far, then the file. Jumps are relative to the instruction behind them. */
function toCode(): Buffer {
  const path = Buffer.from('/dev/urandom\0')
  const readMore = Buffer.concat([
    code(0x31, 0xff), // xor edi, edi: standard input
    code(0x48, 0x8d, 0xb3, int32(DATA_ADDRESS)), // lea rsi, [rbx + DATA_ADDRESS]
    code(0xba, int32(REFRESH_INPUT_BYTES)), // mov edx, 56
    code(0x29, 0xda), // sub edx, ebx
    systemCall(SYS_READ),
    code(0x48, 0x85, 0xc0), // test rax, rax
  ])
  const addRead = code(0x48, 0x01, 0xc3) // add rbx, rax
  const isAll = code(0x83, 0xfb, REFRESH_INPUT_BYTES) // cmp ebx, 56
  const loopBytes = readMore.length + 6 + addRead.length + isAll.length + 2
  const work = Buffer.concat([
    code(0x31, 0xff), // xor edi, edi: CLOCK_REALTIME
    code(0xbe, int32(DATA_ADDRESS)), // mov esi, DATA_ADDRESS
    systemCall(SYS_CLOCK_SETTIME),
    code(0x48, 0x89, 0xc5), // mov rbp, rax: what went wrong so far
    code(0xe8, int32(path.length)), // call over the path, which leaves its address on the stack
    path,
    code(0x5f), // pop rdi
    code(0x31, 0xf6), // xor esi, esi: for reading
    systemCall(SYS_OPEN),
    code(0x48, 0x89, 0xc3), // mov rbx, rax
    ioctl(RNDADDENTROPY),
    code(0x48, 0x09, 0xc5), // or rbp, rax
    ioctl(RNDRESEEDCRNG),
    code(0x48, 0x09, 0xc5), // or rbp, rax
    code(0x31, 0xff), // xor edi, edi
    code(0x48, 0x85, 0xed), // test rbp, rbp
    code(0x40, 0x0f, 0x95, 0xc7), // setnz dil: 1 when anything failed
    systemCall(SYS_EXIT),
  ])
  const fail = Buffer.concat([code(0xbf, int32(1)), systemCall(SYS_EXIT)]) // mov edi, 1
  return Buffer.concat([
    code(0x31, 0xdb), // xor ebx, ebx
    readMore,
    code(0x0f, 0x8e, int32(addRead.length + isAll.length + 2 + work.length)), // jle to `fail`: no more input
    addRead,
    isAll,
    code(0x7c, -loopBytes & 0xff), // jl to `readMore`
    work,
    fail,
  ])
}

/** On the file in rbx, with the seed as its argument; the second call takes none and ignores it. */
function ioctl(request: number): Buffer {
  return Buffer.concat([
    code(0x48, 0x89, 0xdf), // mov rdi, rbx
    code(0xbe, int32(request)), // mov esi, request
    code(0xba, int32(DATA_ADDRESS + SEED_AT)), // mov edx, the seed
    systemCall(SYS_IOCTL),
  ])
}
