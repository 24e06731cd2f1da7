/** Makes a raw ext4 file of a folder, without a mount: the same folder gives the same bytes. */

import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isRoot, runBuildStep } from './build-programs.ts'

export interface RootImageSpec {
  /** What is to be in it. */
  readonly tree: string
  /** What the guest sees; the file is sparse. */
  readonly sizeBytes: number
  /**
   * When the build began: what is newer in the tree, files and folders, was made by the build, and gets a fixed time,
   * so that a second build of the same gives the same bytes.
   */
  readonly builtSince?: Date
  /** A state file of fakeroot with the owners of the files; without one, and without root, all are root's. */
  readonly owners?: string
}

const MINUTE_MS = 60_000
const MIB = 1_048_576
/** mke2fs looks for what it should do by the size of the disk, and wants to find it. */
const SETTINGS = `[fs_types]\n${['ext3', 'floppy', 'small', 'big', 'huge'].map((type) => `${type} = {\n}\n`).join('')}`
/** When every file system was made, so that the moment of a build is not in it: 2026-01-01. */
const MADE_AT = 1_767_225_600
/** The kernel gives files the time of its last tick, which may lie before ours. */
const CLOCK_STEP_MS = 20
/** The second is what e2fsprogs reads from 1.47.1. */
const FIXED_TIME = { E2FSPROGS_FAKE_TIME: String(MADE_AT), SOURCE_DATE_EPOCH: String(MADE_AT) }
const UUID = '4c616e64-6661-6c6c-8000-000000000001'
const HASH_SEED = '4c616e64-6661-6c6c-8000-000000000002'
/** Of a new file system the first inodes are the kernel's own; files begin with this one, after lost+found. */
const FIRST_FILE = 12
const ROOT_FOLDER = 2

/**
 * Named one by one, since each version of mke2fs has other defaults. The kernel of the guests knows all of them, and
 * so do e2fsprogs from 1.43.
 */
const FEATURES = [
  'none',
  ...['has_journal', 'ext_attr', 'resize_inode', 'dir_index', 'filetype', 'extent', '64bit', 'flex_bg'],
  ...['sparse_super', 'large_file', 'huge_file', 'dir_nlink', 'extra_isize', 'metadata_csum'],
].join(',')

/**
 * A journal comes round again and again until all of it takes room on the disk, of every VM: 32 MiB instead of the
 * 128 MiB that mke2fs gives 20 GiB, and less where the disk is small.
 */
const JOURNAL_MIB = { min: 4, max: 32, share: 1 / 64 }

/**
 * Tables are left as holes (`lazy_…`): a template of 20 GiB takes 2 MB more than its
 * files.
 */
const ARGUMENTS = [
  '-q',
  '-F',
  ...['-b', '4096', '-I', '256', '-i', '16384', '-m', '0'],
  ...['-O', FEATURES, '-U', UUID],
  ...['-E', `hash_seed=${HASH_SEED},lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0`],
]

/** Writes `root.img` into `folder`. @throws SidecarError image_build_failed */
export async function makeRootImage(
  folder: string,
  { tree, sizeBytes, builtSince, owners }: RootImageSpec,
): Promise<string> {
  if (builtSince !== undefined) await levelBuildTimes(tree, builtSince)
  const file = join(folder, 'root.img')
  const settings = join(folder, 'mke2fs.conf')
  await writeFile(settings, SETTINGS)
  await using image = await open(file, 'wx', 0o600)
  await image.truncate(sizeBytes)
  const fakeroot = isRoot() ? [] : ['fakeroot', ...(owners === undefined ? [] : ['-i', owners]), '--']
  const [command = '', ...args] = [
    ...fakeroot,
    'mke2fs',
    ...ARGUMENTS,
    '-J',
    `size=${journalMibOf(sizeBytes)}`,
    '-d',
    tree,
    file,
  ]
  const env = { ...FIXED_TIME, MKE2FS_CONFIG: settings }
  await runBuildStep(command, args, { env, timeoutMs: 10 * MINUTE_MS })
  await levelTimes(file)
  await image.sync()
  return file
}

function journalMibOf(sizeBytes: number): number {
  const { min, max, share } = JOURNAL_MIB
  return Math.min(max, Math.max(min, Math.floor((sizeBytes * share) / MIB)))
}

async function levelBuildTimes(tree: string, since: Date): Promise<void> {
  const from = new Date(since.getTime() - CLOCK_STEP_MS).toISOString()
  const touch = ['-exec', 'touch', '--no-dereference', '--date', `@${MADE_AT}`, '{}', '+']
  await runBuildStep('find', [tree, '-newermt', from, ...touch], { timeoutMs: 10 * MINUTE_MS })
}

/**
 * mke2fs copies when a file was last read and when its inode changed: by the build itself, and neither can be set in
 * the folder. Takes 50 ms for 12,000 files.
 */
async function levelTimes(file: string): Promise<void> {
  const description = await runBuildStep('dumpe2fs', [file])
  const commands = findUsedInodes(description).flatMap((inode) => [
    `set_inode_field <${inode}> ctime @${MADE_AT}`,
    `set_inode_field <${inode}> atime @${MADE_AT}`,
  ])
  await runBuildStep('debugfs', ['-w', '-f', '-', file], {
    input: `${commands.join('\n')}\n`,
    env: FIXED_TIME,
    timeoutMs: 10 * MINUTE_MS,
  })
}

/** Of what dumpe2fs says: `Inode count: 64`, and a group at a time `Free inodes: 12-16, 20`. */
export function findUsedInodes(description: string): readonly number[] {
  const count = Number(/^Inode count: +(\d+)$/m.exec(description)?.[1] ?? 0)
  const free = [...description.matchAll(/^ {2}Free inodes: (.+)$/gm)]
    .flatMap(([, ranges = '']) => ranges.split(', '))
    .map((range) => range.split('-').map(Number))
    .map(([from = 0, to = from]) => ({ from, to }))
  const used: number[] = [ROOT_FOLDER]
  let next = FIRST_FILE
  for (const { from, to } of [...free, { from: count + 1, to: count + 1 }]) {
    for (; next < from; next += 1) used.push(next)
    next = Math.max(next, to + 1)
  }
  return used
}
