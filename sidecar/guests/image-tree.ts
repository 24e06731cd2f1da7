/** Reads and writes files in the tree of an image whose maker is not trusted: no link in it leads out of it. */

import { constants } from 'node:fs'
import { chmod, lstat, mkdir, open, readlink, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { SidecarError } from '../errors.ts'

/** As the kernel's own limit, path_resolution(7). */
const MAX_LINKS = 40
const MAX_READ_BYTES = 1_048_576
const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants

/**
 * The path on this machine of `path` as a process would find it whose root is `tree`: absolute links and `..` end at
 * the tree's root. What does not exist is taken as named. Holds as long as nobody changes the tree.
 * @throws SidecarError image_build_failed when links go round in circles
 */
export async function resolveInside(tree: string, path: string): Promise<string> {
  const todo = partsOf(path)
  let done: string[] = []
  let links = 0
  for (let part = todo.shift(); part !== undefined; part = todo.shift()) {
    if (part === '..') {
      done.pop()
      continue
    }
    const target = await findLink(join(tree, ...done, part))
    if (target === undefined) {
      done.push(part)
      continue
    }
    links += 1
    if (links > MAX_LINKS)
      throw new SidecarError('image_build_failed', { detail: `too many links at ${path}` })
    if (target.startsWith('/')) done = []
    todo.unshift(...partsOf(target))
  }
  return join(tree, ...done)
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.')
}

async function findLink(path: string): Promise<string | undefined> {
  const stats = await findStats(path)
  return stats?.isSymbolicLink() ? readlink(path) : undefined
}

/** Makes the folder, and those above it, where there is none. @throws SidecarError image_build_failed when a file is in the way */
export async function makeFolderInside(tree: string, path: string): Promise<string> {
  const folder = await resolveInside(tree, path)
  await mkdir(folder, { recursive: true, mode: 0o755 }).catch((cause: unknown) => {
    throw new SidecarError('image_build_failed', { cause, detail: `${path} in the image is no folder` })
  })
  return folder
}

/** Replaces whatever has that name in the folder. @throws SidecarError image_build_failed */
export async function writeInside(
  tree: string,
  path: string,
  { text, mode }: { readonly text: string; readonly mode: number },
): Promise<void> {
  const at = path.lastIndexOf('/')
  const file = join(await makeFolderInside(tree, path.slice(0, at)), path.slice(at + 1))
  await rm(file, { recursive: true, force: true })
  await using handle = await open(file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode)
  await handle.writeFile(text)
  await chmod(file, mode)
}

/** Undefined when it is missing, no plain file, or of more than 1 MiB. */
export async function findTextInside(tree: string, path: string): Promise<string | undefined> {
  const file = await resolveInside(tree, path)
  const stats = await findStats(file)
  if (!stats?.isFile() || stats.size > MAX_READ_BYTES) return undefined
  await using handle = await open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  return await handle.readFile('utf8')
}

export async function isFileInside(tree: string, path: string): Promise<boolean> {
  const stats = await findStats(await resolveInside(tree, path))
  return stats?.isFile() === true
}

function findStats(path: string) {
  return lstat(path).catch(() => undefined)
}
