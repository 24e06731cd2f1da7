/** Makes an uncompressed kernel, which boots 0.5 s faster under emulation, of what a Debian kernel package holds. */

import { readdir, readFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { SidecarError } from '../errors.ts'
import { runCommand } from '../run-command.ts'

/** What an unpacked kernel package holds. */
export interface KernelFiles {
  /** As `uname -r` says. */
  readonly release: string
  readonly bzImage: string
  /** The folder of its modules. */
  readonly modules: string
}

// Fields of the setup header, Documentation/arch/x86/boot.rst of Linux.
const SETUP_SECTORS_AT = 0x1f1
const MAGIC_AT = 0x202
const PAYLOAD_OFFSET_AT = 0x248
const PAYLOAD_LENGTH_AT = 0x24c
const SECTOR_BYTES = 512
/** The size of the kernel once unpacked follows the compressed stream. */
const SIZE_BYTES = 4

const ELF_MAGIC = Buffer.from('\x7fELF', 'latin1')

type Unpack = (packed: Buffer, workFile: string) => Promise<Buffer>

/** By the first bytes of the stream. */
const FORMATS: readonly (readonly [string, Unpack])[] = [
  ['02214c18', unpackLz4],
  ['28b52ffd', async (packed) => zstdDecompressSync(packed)],
  ['1f8b08', async (packed) => gunzipSync(packed)],
]

/** @throws SidecarError image_build_failed when the package holds no kernel */
export async function findKernel(unpacked: string): Promise<KernelFiles> {
  const names = await readdir(join(unpacked, 'boot'))
  const name = names.find((file) => file.startsWith('vmlinuz-'))
  if (name === undefined) throw failed('the kernel package holds no vmlinuz')
  const release = name.slice('vmlinuz-'.length)
  // From Debian 13 on they are below usr/.
  const old = await readdir(join(unpacked, 'lib/modules')).catch((): string[] => [])
  const parent = old.includes(release) ? 'lib' : 'usr/lib'
  return {
    release,
    bzImage: join(unpacked, 'boot', name),
    modules: join(unpacked, parent, 'modules', release),
  }
}

/** Writes the ELF file that is inside a bzImage. @throws SidecarError image_build_failed when there is none */
export async function unpackKernel(bzImage: string, target: string): Promise<void> {
  const image = await readFile(bzImage)
  const packed = findPayload(image)
  const [, unpack] = FORMATS.find(([magic]) => packed.toString('hex', 0, 4).startsWith(magic)) ?? []
  if (!unpack) throw failed(`${basename(bzImage)} is compressed in an unknown way`)
  const kernel = await unpack(packed, `${target}.packed`)
  if (!kernel.subarray(0, ELF_MAGIC.length).equals(ELF_MAGIC)) {
    throw failed(`what ${basename(bzImage)} holds is no ELF file`)
  }
  await writeFile(target, kernel)
}

/** The compressed kernel without its size. @throws SidecarError image_build_failed */
export function findPayload(image: Buffer): Buffer {
  if (image.length < PAYLOAD_LENGTH_AT + 4 || image.toString('latin1', MAGIC_AT, MAGIC_AT + 4) !== 'HdrS') {
    throw failed('the kernel is no bzImage')
  }
  const setupBytes = ((image[SETUP_SECTORS_AT] || 4) + 1) * SECTOR_BYTES
  const start = setupBytes + image.readUInt32LE(PAYLOAD_OFFSET_AT)
  const end = start + image.readUInt32LE(PAYLOAD_LENGTH_AT) - SIZE_BYTES
  if (end <= start || end > image.length) throw failed('the kernel is cut off')
  return image.subarray(start, end)
}

async function unpackLz4(packed: Buffer, workFile: string): Promise<Buffer> {
  await writeFile(workFile, packed)
  await runCommand('lz4', ['-d', '-q', '-f', workFile, `${workFile}.out`])
  return readFile(`${workFile}.out`)
}

function failed(detail: string): SidecarError {
  return new SidecarError('image_build_failed', { detail })
}
