/** Builds, lists and removes the images of this machine: what `landfall image` and the first start of `landfall dev` do. */

import { readdir, readFile, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type Environment, EnvReader } from './lib/env-reader.ts'
import { chooseVmm } from './sidecar/driver.ts'
import { SidecarError } from './sidecar/errors.ts'
import { type BootFiles, buildBootFiles } from './sidecar/guests/boot-files.ts'
import { buildDebianImage } from './sidecar/guests/debian-image.ts'
import { buildOciImage } from './sidecar/guests/oci-image.ts'
import { buildHelloTree, buildSmallTree } from './sidecar/guests/small-image.ts'
import type { Template } from './sidecar/guests/template.ts'
import { createTemplates, type ImageSummary, type TemplateStore } from './sidecar/guests/template-store.ts'

/** Told of each step as it begins. */
type Say = (line: string) => void

export interface ImageWanted {
  /** `hello`, `small` or `debian`. */
  readonly kind?: string
  /** An OCI image, as a reference to a registry or as a path. */
  readonly oci?: string
  /** That of the kind when absent. */
  readonly name?: string
}

interface Build {
  readonly folder: string
  readonly store: TemplateStore
  readonly boot: BootFiles
  readonly name: string
  readonly env: Environment
  readonly say: Say
}

/** How each image of ours is built. */
const KINDS = {
  hello: (build: Build) => buildOwnImage(build, buildHelloTree),
  small: (build: Build) => buildOwnImage(build, buildSmallTree),
  debian: ({ store, boot, ...build }: Build) => buildDebianImage(store, { ...build, boot: boot.digest }),
} as const

/** `env` names the data folder, as for a server. */
export function createImageTools(env: Environment) {
  const folder = resolve(new EnvReader(env).text('LANDFALL_DATA', '.landfall'))
  const store = createTemplates(folder)
  return {
    /** @throws SidecarError image_build_failed, command_failed */
    async build(wanted: ImageWanted, say: Say) {
      const { name } = await buildImage({ wanted, folder, store, env, say })
      const images = await store.describe()
      return toRow(images.find((image) => image.name === name) ?? refuseKind(wanted.kind))
    },
    async list() {
      const images = await store.describe()
      return images.map(toRow)
    },
    /** @throws SidecarError vm_image_unknown, vm_image_used */
    remove: (name: string) => store.remove(name, (digest) => isUsed(folder, digest)),
  }
}

/** Builds those of `names` that the host with this data folder does not have. @throws SidecarError image_build_failed */
export async function ensureImages(
  names: readonly string[],
  { folder, env }: { readonly folder: string; readonly env: Environment },
  say: Say,
): Promise<void> {
  const store = createTemplates(resolve(folder))
  for (const kind of names) {
    const found = await store.get(kind).catch((error: unknown) => {
      if (error instanceof SidecarError && error.code === 'vm_image_unknown') return undefined
      throw error
    })
    if (found === undefined) await buildImage({ wanted: { kind }, folder: resolve(folder), store, env, say })
  }
}

interface Development {
  readonly vmm: 'auto' | 'qemu' | 'process'
  readonly folder: string
  readonly env: Environment
}

/**
 * Which driver a start for development has: QEMU where it is installed and its guest can be built, which the first
 * start does. @throws SidecarError when QEMU is asked for and cannot be had
 */
export async function prepareDevelopment(
  { vmm, ...place }: Development,
  say: Say,
): Promise<'qemu' | 'process'> {
  if ((await chooseVmm(vmm)) === 'process') return 'process'
  try {
    await ensureImages(['hello'], place, say)
    return 'qemu'
  } catch (error) {
    if (vmm === 'qemu' || !(error instanceof SidecarError)) throw error
    say(`no guest could be built, so VMs are processes: ${error.message}`)
    return 'process'
  }
}

interface Job extends Omit<Build, 'boot' | 'name'> {
  readonly wanted: ImageWanted
}

async function buildImage({ wanted, ...job }: Job): Promise<Template> {
  const { kind = '', oci, name = kind } = wanted
  const make = isKind(kind) ? KINDS[kind] : undefined
  if (make === undefined && oci === undefined) return refuseKind(kind)
  const { folder, store, env, say } = job
  say('preparing kernel, initramfs and tools')
  const boot = await buildBootFiles(folder, { progress: say })
  if (make !== undefined) return make({ ...job, boot, name })
  return buildOciImage(store, { reference: oci ?? '', name, boot: boot.digest, env, say })
}

function isKind(kind: string): kind is keyof typeof KINDS {
  return Object.hasOwn(KINDS, kind)
}

function refuseKind(kind = ''): never {
  const known = Object.keys(KINDS).join(', ')
  throw new SidecarError('image_build_failed', { detail: `"${kind}" is none of ${known}` })
}

async function buildOwnImage(
  { store, boot, name, say }: Build,
  buildTree: typeof buildSmallTree,
): Promise<Template> {
  say('making its root file system')
  const builtSince = new Date()
  const work = await store.makeWorkFolder()
  try {
    const { folder: tree, config } = await buildTree(join(work, 'rootfs'), boot)
    return await store.packTemplate({ name, tree, config, builtSince, boot: boot.digest })
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Each VM's disk says in a file what it stands on, by the path of the template. */
async function isUsed(folder: string, digest: string): Promise<boolean> {
  const vms = join(folder, 'vms')
  const names = await readdir(vms).catch(() => [])
  const disks = await Promise.all(
    names.map((name) => readFile(join(vms, name, 'disk.json'), 'utf8').catch(() => '')),
  )
  return disks.some((text) => text.includes(digest))
}

function toRow({ name, digest, sizeBytes, usedBytes, config }: ImageSummary) {
  return { name, digest, sizeBytes, usedBytes, ...(config.port !== undefined && { port: config.port }) }
}
