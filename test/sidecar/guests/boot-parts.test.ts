/** The parts of what a guest boots with: archives, programs made of bytes, modules in order, the kernel in its wrapping. */

import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { toCpio } from '../../../sidecar/guests/cpio.ts'
import { findNeededLibraries, withInterpreter, withString } from '../../../sidecar/guests/elf.ts'
import { toInitramfs } from '../../../sidecar/guests/initramfs.ts'
import { findPayload, unpackKernel } from '../../../sidecar/guests/kernel.ts'
import { findDependencies, loadModules } from '../../../sidecar/guests/modules.ts'
import { toRefreshInput, toRefreshProgram } from '../../../sidecar/guests/refresh-program.ts'
import { measureTscKhz } from '../../../sidecar/guests/tsc-rate.ts'
import { folderFor } from '../../helpers/folder.ts'

/** A program with a loader and libraries, which every Debian has. */
const PROGRAM = readFileSync('/usr/bin/env')

t.test('cpio reads the archive: files, folders, links and devices, all of root', (t) => {
  const archive = toCpio([
    { path: 'etc', kind: 'folder', mode: 0o755 },
    { path: 'etc/name', kind: 'file', mode: 0o640, data: Buffer.from('guest') },
    { path: 'etc/empty', kind: 'file', mode: 0o600 },
    { path: 'etc/link', kind: 'link', mode: 0o777, data: Buffer.from('name') },
    { path: 'null', kind: 'device', mode: 0o666, device: [1, 3] },
  ])
  const list = spawnSync('cpio', ['-itv', '--numeric-uid-gid', '--quiet'], {
    input: archive,
    encoding: 'utf8',
  })
  t.equal(list.stderr, '')
  const lines = list.stdout.trim().split('\n')
  t.match(lines, [
    /^drwxr-xr-x +2 0 +0 .* etc$/,
    /^-rw-r----- +1 0 +0 +5 .* etc\/name$/,
    /^-rw------- +1 0 +0 +0 .* etc\/empty$/,
    /^lrwxrwxrwx +1 0 +0 .* etc\/link -> name$/,
    /^crw-rw-rw- +1 0 +0 +1, +3 .* null$/,
  ])
  t.equal(lines.length, 5)
  const text = spawnSync('cpio', ['-i', '--to-stdout', '--quiet', 'etc/name'], {
    input: archive,
    encoding: 'utf8',
  })
  t.equal(text.stdout, 'guest')
  t.equal(archive.length % 512, 0)
  t.end()
})

t.test('the initramfs names its modules in the order in which they are given', (t) => {
  const archive = toInitramfs({
    busybox: Buffer.from('b'),
    modules: [
      { name: 'virtio', data: Buffer.from('1') },
      { name: 'virtio_blk', data: Buffer.from('2') },
    ],
    init: Buffer.from('i'),
  })
  const order = spawnSync('cpio', ['-i', '--to-stdout', '--quiet', 'modules/order'], {
    input: archive,
    encoding: 'utf8',
  })
  t.equal(order.stdout, 'virtio.ko\nvirtio_blk.ko\n')
  t.end()
})

const moduleOf = (depends: string) => Buffer.from(`\x7fELF\0license=GPL\0depends=${depends}\0name=x\0`)

t.test('modules come behind those that they need, each once', async (t) => {
  const folder = folderFor(t)
  mkdirSync(join(folder, 'kernel/net'), { recursive: true })
  const needs = {
    virtio_net: 'net-failover,virtio',
    net_failover: 'failover',
    failover: '',
    virtio: 'virtio_ring',
  }
  for (const [name, depends] of Object.entries(needs))
    writeFileSync(join(folder, `kernel/net/${name}.ko`), moduleOf(depends))
  writeFileSync(join(folder, 'kernel/virtio-rng.ko'), moduleOf('virtio'))
  writeFileSync(join(folder, 'kernel/virtio_ring.ko'), moduleOf(''))
  const modules = await loadModules(folder, ['virtio_net', 'virtio_rng'])
  const names = modules.map(({ name }) => name)
  t.same(names, ['failover', 'net_failover', 'virtio_ring', 'virtio', 'virtio_net', 'virtio_rng'])
  await t.rejects(loadModules(folder, ['virtio_gone']), {
    code: 'image_build_failed',
    message: /virtio_gone/,
  })
  t.same(findDependencies(Buffer.from('no such entry')), [])
  t.end()
})

/** Setup header and payload as of a bzImage with one setup sector. */
function toBzImage(payload: Buffer): Buffer {
  const image = Buffer.alloc(0x600)
  image[0x1f1] = 1
  image.write('HdrS', 0x202, 'latin1')
  image.writeUInt32LE(0x100, 0x248)
  image.writeUInt32LE(payload.length + 4, 0x24c)
  return Buffer.concat([image.subarray(0, 0x500), payload, Buffer.alloc(4), Buffer.from('behind it')])
}

t.test('a kernel is taken out of its bzImage, whatever it is compressed with', async (t) => {
  const folder = folderFor(t)
  const kernel = Buffer.concat([Buffer.from('\x7fELF', 'latin1'), Buffer.alloc(50_000, 'kernel')])
  for (const [program, ...args] of [
    ['lz4', '-l', '-c'],
    ['gzip', '-c'],
    ['zstd', '-c'],
  ] as const) {
    const packed = spawnSync(program, args, { input: kernel }).stdout
    const image = toBzImage(packed)
    t.same(findPayload(image), packed, program)
    writeFileSync(join(folder, program), image)
    await unpackKernel(join(folder, program), join(folder, `${program}.elf`))
    t.ok(readFileSync(join(folder, `${program}.elf`)).equals(kernel), program)
  }
  t.end()
})

t.test('what is no kernel is refused', async (t) => {
  const folder = folderFor(t)
  const cases = {
    'no bzImage': Buffer.alloc(0x1000),
    'cut off': toBzImage(Buffer.alloc(5000)).subarray(0, 0x800),
    'compressed in an unknown way': toBzImage(Buffer.from('what is this')),
    'no ELF file': toBzImage(spawnSync('gzip', ['-c'], { input: 'text' }).stdout),
  }
  for (const [reason, image] of Object.entries(cases)) {
    writeFileSync(join(folder, 'vmlinuz'), image)
    const refused = unpackKernel(join(folder, 'vmlinuz'), join(folder, 'out'))
    await t.rejects(refused, { code: 'image_build_failed', message: new RegExp(reason) })
  }
  t.end()
})

const readelf = spawnSync('readelf', ['--version']).error ? { skip: 'readelf is not installed' } : {}

t.test('the refresh program is a static program that readelf finds nothing wrong with', readelf, (t) => {
  const file = join(folderFor(t), 'refresh')
  writeFileSync(file, toRefreshProgram())
  const read = spawnSync('readelf', ['-hlW', file], { encoding: 'utf8' })
  t.equal(read.stderr, '')
  t.match(read.stdout, /Type: +EXEC/)
  t.match(read.stdout, /Machine: +Advanced Micro Devices X86-64/)
  t.match(read.stdout, /Entry point address: +0x400078/)
  t.match(read.stdout, /LOAD +0x000000 0x0*400000 .* RWE 0x1000/)
  t.notMatch(read.stdout, /INTERP|DYNAMIC/)
  t.end()
})

t.test('the refresh program fails without rights and with too little to read', (t) => {
  const folder = folderFor(t)
  chmodSync(folder, 0o755)
  const file = join(folder, 'refresh')
  writeFileSync(file, toRefreshProgram())
  chmodSync(file, 0o755)
  const input = toRefreshInput(Date.now(), Buffer.alloc(32, 7))
  const asNobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
  const run = (bytes: Buffer) => spawnSync(file, { input: bytes, ...asNobody })
  for (const bytes of [input, input.subarray(0, 55), Buffer.alloc(0)]) {
    t.match(run(bytes), { status: 1, signal: null })
  }
  t.end()
})

t.test('what the refresh program reads is the time and 256 bits', (t) => {
  const input = toRefreshInput(1_700_000_000_123, Buffer.alloc(32, 9))
  t.equal(input.length, 56)
  t.equal(input.readBigInt64LE(0), 1_700_000_000n)
  t.equal(input.readBigInt64LE(8), 123_000_000n)
  t.equal(input.readInt32LE(16), 256)
  t.equal(input.readInt32LE(20), 32)
  t.same(input.subarray(24), Buffer.alloc(32, 9))
  t.throws(() => toRefreshInput(0, Buffer.alloc(31)), RangeError)
  t.end()
})

t.test('two measurements of the time stamp counter agree', async (t) => {
  const folder = folderFor(t)
  const [first, second] = [await measureTscKhz(folder), await measureTscKhz(folder)]
  t.ok(first > 500_000 && first < 10_000_000, `${first} kHz`)
  t.ok(Math.abs(first - second) < first / 1000, `${first} and ${second} kHz`)
  t.end()
})

t.test('a program is pointed at another loader, and runs with it', (t) => {
  t.match(findNeededLibraries(PROGRAM), ['libc.so.6'])
  t.same(findNeededLibraries(Buffer.from('#!/bin/sh\n')), [])
  const folder = folderFor(t)
  const file = join(folder, 'env')
  writeFileSync(file, withInterpreter(PROGRAM, '/nonexistent/ld.so'))
  chmodSync(file, 0o755)
  // The kernel does not find the loader.
  t.match(spawnSync(file), { error: { code: 'ENOENT' } })
  t.throws(() => withInterpreter(PROGRAM, `/${'long'.repeat(20)}`), RangeError)
  t.end()
})

t.test('a string in a program is replaced where it stands, and only whole', (t) => {
  const file = Buffer.from('a\0/etc/name\0b/etc/name\0/etc/name\0')
  const changed = withString(file, '/etc/name', '/our')
  t.equal(changed.toString(), 'a\0/our\0\0\0\0\0\0b/etc/name\0/our\0\0\0\0\0\0')
  t.throws(() => withString(file, '/etc/other', '/x'), RangeError)
  t.throws(() => withString(file, '/etc/name', '/etc/longer'), RangeError)
  t.end()
})
