/** Writes OCI images for tests, byte by byte, so that they may be as hostile as a test wants. */

import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

export interface TarEntry {
  readonly name: string
  readonly text?: string | Buffer
  /** Of tar: `0` a file (the default), `1` a hard link, `2` a symbolic link, `3` and `4` devices, `5` a folder, `6` a pipe. */
  readonly type?: '0' | '1' | '2' | '3' | '4' | '5' | '6'
  readonly link?: string
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  /** What the header says of the length, when that is not the truth. */
  readonly saidSize?: number
}

const BLOCK = 512

export function toTar(entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([...entries.map(toBlocks), Buffer.alloc(2 * BLOCK)])
}

function toBlocks({
  name,
  text = '',
  type = '0',
  link = '',
  mode = 0o755,
  uid = 0,
  gid = 0,
  saidSize,
}: TarEntry): Buffer {
  const data = Buffer.from(text)
  const header = Buffer.alloc(BLOCK)
  const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, '0')}\0`
  header.write(name, 0, 100)
  header.write(octal(mode, 8), 100)
  header.write(octal(uid, 8), 108)
  header.write(octal(gid, 8), 116)
  header.write(octal(saidSize ?? data.length, 12), 124)
  header.write(octal(1_700_000_000, 12), 136)
  header.write('        ', 148)
  header.write(type, 156)
  header.write(link, 157, 100)
  header.write('ustar\x0000', 257)
  header.write(octal(1, 8), 329)
  header.write(octal(3, 8), 337)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return Buffer.concat([header, data, Buffer.alloc((BLOCK - (data.length % BLOCK)) % BLOCK)])
}

export interface OciSpec {
  /** Uncompressed tar files, the lowest first. */
  readonly layers: readonly Buffer[]
  /** Member `config` of the image's configuration. */
  readonly config?: unknown
  /** Instead of all of the configuration. */
  readonly document?: string | Record<string, unknown>
}

/** Writes a folder of the OCI layout with one image. */
export function writeOciLayout(folder: string, { layers, config = {}, document }: OciSpec): string {
  const blobs = join(folder, 'blobs/sha256')
  mkdirSync(blobs, { recursive: true })
  const put = (mediaType: string, data: Buffer) => {
    const hex = digestOf(data)
    writeFileSync(join(blobs, hex), data)
    return { mediaType: `application/vnd.oci.image.${mediaType}`, digest: `sha256:${hex}`, size: data.length }
  }
  const rootfs = { type: 'layers', diff_ids: layers.map((layer) => `sha256:${digestOf(layer)}`) }
  const image = document ?? { os: 'linux', architecture: 'amd64', config, rootfs }
  const text = typeof image === 'string' ? image : JSON.stringify({ rootfs, ...image })
  const manifest = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: put('config.v1+json', Buffer.from(text)),
    layers: layers.map((layer) => put('layer.v1.tar+gzip', gzipSync(layer))),
  }
  const index = {
    schemaVersion: 2,
    manifests: [put('manifest.v1+json', Buffer.from(JSON.stringify(manifest)))],
  }
  writeFileSync(join(folder, 'index.json'), JSON.stringify(index))
  writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  return folder
}

function digestOf(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex')
}
