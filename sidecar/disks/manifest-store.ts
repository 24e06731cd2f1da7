/** The manifests of all disks of a host: `vms/<key>/disk.json`, in memory as they are on disk. */

import { mkdir, readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { codeOf } from '../../lib/node-error.ts'
import { deleteDurably, replaceDurably } from '../../lib/whole-file.ts'
import { SidecarError } from '../errors.ts'
import { type Manifest, parseManifest } from './manifest.ts'

export class ManifestStore {
  readonly #folder: string
  readonly #known = new Map<string, Manifest | Error>()

  /** `folder` has a folder per VM. */
  constructor(folder: string) {
    this.#folder = folder
  }

  /** Reads all again. */
  async load(): Promise<void> {
    this.#known.clear()
    for (const key of await this.#listKeys()) {
      const manifest = await this.#read(key)
      if (manifest) this.#known.set(key, manifest)
    }
  }

  /** Undefined when the VM has no disk. @throws SidecarError disk_failed when what it has cannot be understood */
  find(key: string): Manifest | undefined {
    const found = this.#known.get(key)
    if (!(found instanceof Error)) return found
    throw new SidecarError('disk_failed', { cause: found, context: { key } })
  }

  isDamaged(key: string): boolean {
    return this.#known.get(key) instanceof Error
  }

  /** @throws SidecarError disk_failed */
  get(key: string): Manifest {
    const found = this.find(key)
    if (found) return found
    throw new SidecarError('disk_failed', { context: { key, reason: 'the VM has no disk' } })
  }

  /** Those that can be understood. */
  list(): (readonly [key: string, manifest: Manifest])[] {
    return [...this.#known].flatMap(([key, found]) => (found instanceof Error ? [] : [[key, found] as const]))
  }

  async write(key: string, manifest: Manifest): Promise<void> {
    const path = this.#pathOf(key)
    await mkdir(dirname(path), { recursive: true })
    await replaceDurably(path, `${JSON.stringify(manifest, undefined, 2)}\n`)
    this.#known.set(key, manifest)
  }

  async delete(key: string): Promise<void> {
    if (this.#known.has(key)) await deleteDurably(this.#pathOf(key))
    this.#known.delete(key)
  }

  /** As they are on disk at this moment. @throws Error when one cannot be read: it may name any layer */
  async readAll(): Promise<readonly Manifest[]> {
    const manifests: Manifest[] = []
    for (const key of await this.#listKeys()) {
      const manifest = await this.#read(key)
      if (manifest instanceof Error)
        throw new Error(`the disk of ${key}: ${manifest.message}`, { cause: manifest })
      if (manifest) manifests.push(manifest)
    }
    return manifests
  }

  async #listKeys(): Promise<readonly string[]> {
    const entries = await readdir(this.#folder, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  }

  async #read(key: string): Promise<Manifest | Error | undefined> {
    try {
      return parseManifest(await readFile(this.#pathOf(key), 'utf8'))
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined
      return error instanceof Error ? error : new Error(String(error))
    }
  }

  #pathOf(key: string): string {
    return join(this.#folder, key, 'disk.json')
  }
}
