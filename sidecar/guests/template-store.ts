/** The images of a host: root file systems by what is in them, and names that lead to them. */

import { randomBytes } from 'node:crypto'
import { access, chmod, link, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { syncFolder } from '../../lib/private-file.ts'
import { SidecarError } from '../errors.ts'
import { checkPrograms, isRoot } from './build-programs.ts'
import { digestOf } from './content-digest.ts'
import { makeRootImage } from './root-image.ts'
import type { ImageConfig, Template, Templates } from './template.ts'
import {
  fileNameOf,
  findImageName,
  isImageName,
  parseTemplateFile,
  type TemplateFile,
} from './template-file.ts'

const GIB = 1_073_741_824
const DEFAULT_SIZE_BYTES = 20 * GIB
/** Longer than any build: what is older was left behind by one that was killed. */
const LEFT_BEHIND_MS = 86_400_000
const READ_ONLY = 0o444
const ROOT_IMAGE = 'root.img'

export interface PackSpec {
  /** As in a VM's record; an image of this name is replaced, for VMs that are made from now on. */
  readonly name: string
  /** The folder that becomes the root file system. */
  readonly tree: string
  /** When the build began: times of what is newer in `tree` are set back, so that a second build gives the same. */
  readonly builtSince?: Date
  readonly config: ImageConfig
  /** The name of the folder with the boot files below `<data>/boot`. */
  readonly boot: string
  /** What the guest sees, sparse; 20 GiB when absent. */
  readonly sizeBytes?: number
  /** A state file of fakeroot that knows who owns the files of `tree`; for builds without root. */
  readonly owners?: string
}

export interface ImageSummary {
  readonly name: string
  readonly digest: string
  readonly config: ImageConfig
  readonly sizeBytes: number
  /** What it takes on the disk, once for all images with this digest. */
  readonly usedBytes: number
}

export interface TemplateStore extends Templates {
  /** @throws SidecarError image_build_failed */
  packTemplate(spec: PackSpec): Promise<Template>
  /** Each image, by name. @throws SidecarError image_build_failed when a file is damaged */
  describe(): Promise<readonly ImageSummary[]>
  /**
   * Forgets the name, and deletes the root file system unless another image has the same. `isUsed` says whether a VM's
   * disk stands on it. @throws SidecarError vm_image_unknown, vm_image_used
   */
  remove(name: string, isUsed: (digest: string) => boolean | Promise<boolean>): Promise<void>
  /** A new folder on the same disk for what a build makes; the caller deletes it. */
  makeWorkFolder(): Promise<string>
  /** Deletes what builds that were killed have left, once it is a day old: a younger one may be under way. */
  removeLeftBehind(): Promise<void>
}

/** `folder` is the host's data folder. Several processes may build and read at once. */
export function createTemplates(folder: string): TemplateStore {
  const place = { folder, templates: join(folder, 'templates') }
  return {
    list: () => listNames(place),
    get: (name) => getTemplate(place, name),
    packTemplate: (spec) => packTemplate(place, spec),
    describe: () => describeImages(place),
    remove: (name, isUsed) => removeImage(place, name, isUsed),
    makeWorkFolder: () => makeWorkFolder(place),
    removeLeftBehind: () => removeLeftBehind(place),
  }
}

interface Place {
  readonly folder: string
  readonly templates: string
}

async function listNames({ templates }: Place): Promise<readonly string[]> {
  const files = await readdir(templates).catch((error: unknown) => {
    if (isMissing(error)) return []
    throw error
  })
  return files
    .map(findImageName)
    .filter((name) => name !== undefined)
    .sort()
}

async function getTemplate(place: Place, name: string): Promise<Template> {
  const file = await readTemplateFile(place, name)
  const template = toTemplate(place, name, file)
  const { rootFile, kernelFile, initramfsFile, toolsFile } = template
  for (const path of [rootFile, kernelFile, initramfsFile, toolsFile]) await checkFile(path, name)
  return template
}

/** @throws SidecarError vm_image_unknown naming what there is */
async function readTemplateFile(place: Place, name: string): Promise<TemplateFile> {
  if (!isImageName(name)) return refuseUnknown(place, name)
  const path = join(place.templates, fileNameOf(name))
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (isMissing(error)) return undefined
    throw error
  })
  return text === undefined ? refuseUnknown(place, name) : parseTemplateFile(text, path)
}

async function refuseUnknown(place: Place, name: string): Promise<never> {
  const names = await listNames(place)
  const shown = name.slice(0, 200)
  const built = names.length === 0 ? 'it has none yet' : `it has ${names.join(', ')}`
  throw new SidecarError('vm_image_unknown', {
    detail: `the host has no image "${shown}"; ${built}. Build it there: ${buildCommandOf(shown)}`,
  })
}

function buildCommandOf(name: string): string {
  const isOwn = ['hello', 'small', 'debian'].includes(name)
  return `landfall image build ${isOwn ? name : `--oci REFERENCE --name ${isImageName(name) ? name : 'NAME'}`}`
}

async function checkFile(path: string, name: string): Promise<void> {
  await access(path).catch((cause: unknown) => {
    const detail = `a file of the image "${name}" is missing (${path}); build it again: ${buildCommandOf(name)}`
    throw new SidecarError('vm_image_unknown', { cause, detail })
  })
}

function toTemplate({ folder, templates }: Place, name: string, file: TemplateFile): Template {
  const bootFolder = join(folder, 'boot', file.boot)
  return Object.freeze({
    name,
    digest: file.digest,
    config: freezeConfig(file.config),
    rootFile: join(templates, file.digest, ROOT_IMAGE),
    kernelFile: join(bootFolder, 'vmlinux'),
    initramfsFile: join(bootFolder, 'initramfs'),
    toolsFile: join(bootFolder, 'tools.img'),
  })
}

function freezeConfig({ command, environment, ...rest }: ImageConfig): ImageConfig {
  return Object.freeze({
    ...rest,
    ...(command && { command: Object.freeze([...command]) }),
    ...(environment && { environment: Object.freeze({ ...environment }) }),
  })
}

async function packTemplate(place: Place, spec: PackSpec): Promise<Template> {
  const { name, config, boot, sizeBytes = DEFAULT_SIZE_BYTES } = spec
  if (!isImageName(name))
    throw new SidecarError('image_build_failed', { detail: `"${name}" is no image's name` })
  await checkPrograms([
    'mke2fs',
    'debugfs',
    'dumpe2fs',
    'qemu-img',
    ...(isRoot() ? [] : (['fakeroot'] as const)),
  ])
  await removeLeftBehind(place)
  const work = await makeWorkFolder(place)
  try {
    const image = await makeRootImage(work, { ...spec, sizeBytes })
    await chmod(image, READ_ONLY)
    const file: TemplateFile = { digest: await digestOf(image), boot, config, sizeBytes }
    await publish(place, { name, image, file })
    return toTemplate(place, name, file)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

interface Published {
  readonly name: string
  readonly image: string
  readonly file: TemplateFile
}

/**
 * The root file system first, then the name. Who removes an image of the same content at this moment takes the folder
 * away before it looks at the names again, so it either finds ours or we find the folder gone.
 */
async function publish(place: Place, { name, image, file }: Published): Promise<void> {
  const path = join(place.templates, fileNameOf(name))
  const draft = `${path}.${randomBytes(6).toString('hex')}`
  await linkOnce(place, image, file.digest)
  await writeFile(draft, `${JSON.stringify(file)}\n`, { flush: true })
  await rename(draft, path)
  await linkOnce(place, image, file.digest)
  await syncFolder(place.templates)
}

/** A link never replaces what VMs have open: who comes second keeps the first one's file. */
async function linkOnce({ templates }: Place, image: string, digest: string): Promise<void> {
  const folder = join(templates, digest)
  await mkdir(folder, { recursive: true, mode: 0o755 })
  await link(image, join(folder, ROOT_IMAGE)).catch((error: unknown) => {
    if (!hasCode(error, 'EEXIST')) throw error
  })
  await syncFolder(folder)
}

async function describeImages(place: Place): Promise<readonly ImageSummary[]> {
  const names = await listNames(place)
  return Promise.all(
    names.map(async (name) => {
      const { digest, config, sizeBytes } = await readTemplateFile(place, name)
      const stats = await stat(join(place.templates, digest, ROOT_IMAGE)).catch(() => undefined)
      return { name, digest, config, sizeBytes, usedBytes: (stats?.blocks ?? 0) * 512 }
    }),
  )
}

async function removeImage(
  place: Place,
  name: string,
  isUsed: (digest: string) => boolean | Promise<boolean>,
): Promise<void> {
  const { digest } = await readTemplateFile(place, name)
  const images = await describeImages(place)
  const isShared = images.some((image) => image.digest === digest && image.name !== name)
  if (!isShared && (await isUsed(digest)))
    throw new SidecarError('vm_image_used', { detail: `a VM stands on "${name}"` })
  await rm(join(place.templates, fileNameOf(name)), { force: true })
  if (isShared) return
  const folder = join(place.templates, digest)
  const aside = join(place.templates, `.removed-${randomBytes(6).toString('hex')}`)
  const isAside = await rename(folder, aside).then(yes, no)
  if (!isAside) return
  // A build of the same content may have named it meanwhile; when it has put its own file there, ours can go.
  const isBack = (await isNamed(place, digest)) && (await rename(aside, folder).then(yes, no))
  if (!isBack) await rm(aside, { recursive: true, force: true })
}

async function isNamed(place: Place, digest: string): Promise<boolean> {
  const images = await describeImages(place)
  return images.some((image) => image.digest === digest)
}

const yes = () => true
const no = () => false

async function makeWorkFolder({ templates }: Place): Promise<string> {
  const folder = join(templates, `.build-${randomBytes(6).toString('hex')}`)
  await mkdir(templates, { recursive: true, mode: 0o755 })
  await mkdir(folder, { mode: 0o700 })
  return folder
}

async function removeLeftBehind({ templates }: Place): Promise<void> {
  const names = await readdir(templates).catch(() => [])
  for (const name of names.filter((item) => item.startsWith('.'))) {
    const path = join(templates, name)
    const stats = await stat(path).catch(() => undefined)
    const isOld = stats !== undefined && Date.now() - stats.mtimeMs > LEFT_BEHIND_MS
    if (isOld) await rm(path, { recursive: true, force: true })
  }
}

function isMissing(error: unknown): boolean {
  return hasCode(error, 'ENOENT')
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
