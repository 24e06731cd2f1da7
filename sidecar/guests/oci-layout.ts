/** Finds the configuration of the one image in a folder of the OCI layout. */

import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { SidecarError } from '../errors.ts'

/** As much as registries take of a manifest. */
const MAX_DOCUMENT_BYTES = 4_194_304
const DIGEST = /^sha256:([0-9a-f]{64})$/

/** The text of the image's configuration. @throws SidecarError image_build_failed when the folder is not of that form */
export async function readOciConfigText(layout: string): Promise<string> {
  const index = await readJson(join(layout, 'index.json'))
  const [first] = Array.isArray(index.manifests) ? (index.manifests as unknown[]) : []
  const manifest = await readJson(blobOf(layout, first))
  return readBounded(blobOf(layout, manifest.config))
}

/** A digest becomes a path, so it has to be one. */
function blobOf(layout: string, descriptor: unknown): string {
  const digest = isObject(descriptor) ? descriptor.digest : undefined
  const [, hex] = DIGEST.exec(typeof digest === 'string' ? digest : '') ?? []
  return hex === undefined
    ? refuse('a part of it is not named by its SHA-256')
    : join(layout, 'blobs', 'sha256', hex)
}

async function readJson(path: string): Promise<Readonly<Record<string, unknown>>> {
  const text = await readBounded(path)
  try {
    const value: unknown = JSON.parse(text)
    if (isObject(value)) return value
  } catch {
    // Said below, as of what is no object.
  }
  return refuse('one of its documents is no JSON object')
}

async function readBounded(path: string): Promise<string> {
  await using file = await open(path).catch((cause: unknown) => {
    throw new SidecarError('image_build_failed', { cause, detail: 'a part of the image is missing' })
  })
  const { size } = await file.stat()
  if (size > MAX_DOCUMENT_BYTES) refuse(`one of its documents has ${size} bytes`)
  return await file.readFile('utf8')
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function refuse(why: string): never {
  throw new SidecarError('image_build_failed', { detail: `the image cannot be used: ${why}` })
}
