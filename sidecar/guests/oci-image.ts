/** Makes an image of an OCI image, of which nothing is believed: neither its paths, nor its sizes, nor its texts. */

import { access, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Environment } from '../../lib/env-reader.ts'
import { SidecarError } from '../errors.ts'
import { checkPrograms, isRoot, runBuildStep } from './build-programs.ts'
import { type FolderLimit, runWithin } from './folder-limit.ts'
import { isFileInside, makeFolderInside, writeInside } from './image-tree.ts'
import { findImageUser } from './image-user.ts'
import { parseOciConfig } from './oci-config.ts'
import { readOciConfigText } from './oci-layout.ts'
import { findOciSource } from './oci-source.ts'
import { toStartScript } from './start-script.ts'
import type { ImageConfig, Template } from './template.ts'
import type { TemplateStore } from './template-store.ts'

const GIB = 1_073_741_824
const MAX_BYTES = 16 * GIB
const STEP_TIMEOUT_MS = 1_800_000
/** What skopeo reads: where credentials of registries are, and how they are reached. */
const SKOPEO_SETTINGS = [
  ...['HOME', 'XDG_RUNTIME_DIR', 'REGISTRY_AUTH_FILE', 'SSL_CERT_FILE', 'SSL_CERT_DIR'],
  ...['http_proxy', 'https_proxy', 'no_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY'],
]
const LAYOUT = 'layout'
const TAG = 'landfall'

export interface OciBuild {
  /** As `findOciSource` takes it. */
  readonly reference: string
  readonly name: string
  /** The name of the folder with the boot files. */
  readonly boot: string
  readonly sizeBytes?: number
  /** What the image may take while it is built, packed and unpacked together; 16 GiB when absent. */
  readonly maxBytes?: number
  /** The process's environment. */
  readonly env: Environment
  /** Told of each step as it begins. */
  readonly say: (line: string) => void
}

/** @throws SidecarError image_build_failed */
export async function buildOciImage(store: TemplateStore, build: OciBuild): Promise<Template> {
  const { reference, name, boot, sizeBytes, maxBytes = MAX_BYTES, say } = build
  await checkPrograms(['skopeo', 'umoci', 'prlimit', 'tar'])
  const builtSince = new Date()
  const work = await store.makeWorkFolder()
  const limit = { folder: work, maxBytes }
  const tree = join(work, 'rootfs')
  try {
    say(`fetching ${reference}`)
    const text = await fetchImage(build, limit)
    const wanted = parseOciConfig(text)
    say('unpacking its layers')
    await unpack(limit)
    const config = await prepareTree(tree, wanted)
    say('making its root file system')
    return await store.packTemplate({
      name,
      tree,
      builtSince,
      config,
      boot,
      ...(sizeBytes !== undefined && { sizeBytes }),
    })
  } finally {
    await removeTree(work)
  }
}

/** Settles with the image's configuration. */
async function fetchImage({ reference, env }: OciBuild, limit: FolderLimit): Promise<string> {
  const work = limit.folder
  const source = await findOciSource(reference, work)
  const settings = SKOPEO_SETTINGS.flatMap((key) =>
    env[key] === undefined ? [] : [[key, env[key]] as const],
  )
  const platform = ['--override-os', 'linux', '--override-arch', 'amd64']
  const args = [...(await findPolicy(env)), ...platform, 'copy', '--quiet', source, `oci:${LAYOUT}:${TAG}`]
  await runWithin(limit, (signal) =>
    runBuildStep('skopeo', args, {
      cwd: work,
      env: Object.fromEntries(settings),
      timeoutMs: STEP_TIMEOUT_MS,
      signal,
    }),
  )
  return readOciConfigText(join(work, LAYOUT))
}

/** skopeo asks which images may be used at all; where nobody has said so, any that was asked for. */
async function findPolicy(env: Environment): Promise<readonly string[]> {
  const files = ['/etc/containers/policy.json', join(env.HOME ?? '/', '.config/containers/policy.json')]
  const found = await Promise.all(files.map(isThere))
  return found.includes(true) ? [] : ['--insecure-policy']
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

/** umoci keeps every path of a layer below its folder; no file becomes larger than the limit, whatever a header says. */
async function unpack(limit: FolderLimit): Promise<void> {
  const rootless = isRoot() ? [] : ['--rootless']
  const umoci = ['umoci', 'raw', 'unpack', ...rootless, '--image', `${LAYOUT}:${TAG}`, 'rootfs']
  await runWithin(limit, (signal) =>
    runBuildStep('prlimit', [`--fsize=${limit.maxBytes}`, ...umoci], {
      cwd: limit.folder,
      timeoutMs: STEP_TIMEOUT_MS,
      signal,
    }),
  )
}

/** Puts in what our init runs, and settles with the configuration as it stands then. */
async function prepareTree(tree: string, wanted: ImageConfig): Promise<ImageConfig> {
  const { command, workingFolder = '/', user = '0' } = wanted
  // mke2fs has to read what it copies.
  if (!isRoot()) await runBuildStep('chmod', ['-R', 'u+rX', tree])
  if (wanted.init === 'system') await checkSystem(tree, command?.[0] ?? '')
  await makeFolderInside(tree, workingFolder)
  await writeInside(tree, '/etc/landfall/init', { text: `${wanted.init}\n`, mode: 0o644 })
  if (command === undefined || wanted.init === 'system') return wanted
  const { home, ...ids } = await findImageUser(tree, user)
  const environment = { HOME: home, ...wanted.environment }
  const text = toStartScript({ command, environment, workingFolder, ids })
  await writeInside(tree, '/etc/landfall/start', { text, mode: 0o755 })
  return { ...wanted, environment }
}

async function checkSystem(tree: string, program: string): Promise<void> {
  if (await isFileInside(tree, program)) return
  throw new SidecarError('image_build_failed', {
    detail: `the image is to boot ${program}, which it does not have`,
  })
}

/** An image may have folders that not even their owner may enter. */
async function removeTree(folder: string): Promise<void> {
  if (!isRoot()) await runBuildStep('chmod', ['-R', 'u+rwX', folder]).catch(() => undefined)
  await rm(folder, { recursive: true, force: true })
}
