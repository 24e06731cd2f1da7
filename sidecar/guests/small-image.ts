/** The two images that every host can make by itself: a small Linux to log in to, and one that serves a page. */

import { chmod, copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { runCommand } from '../run-command.ts'
import type { BootFiles } from './boot-files.ts'
import type { ImageConfig } from './template.ts'

/** A root file system as files of ours; in an image all of them belong to root. */
export interface ImageTree {
  readonly folder: string
  readonly config: ImageConfig
}

const FOLDERS = [
  ...[
    'bin',
    'sbin',
    'usr/bin',
    'usr/sbin',
    'usr/local/bin',
    'usr/local/sbin',
    'lib',
    'etc',
    'root',
    'home',
    'srv',
  ],
  ...['dev', 'proc', 'sys', 'run', 'tmp', 'mnt', 'opt', 'var/log', 'var/tmp', 'var/lib', '.landfall'],
] as const

const FILES: Readonly<Record<string, string>> = {
  'etc/passwd': [
    'root:x:0:0:root:/root:/bin/sh',
    'hello:x:1000:1000:hello:/srv/hello:/bin/sh',
    'nobody:x:65534:65534:nobody:/nonexistent:/bin/false',
    '',
  ].join('\n'),
  'etc/group': ['root:x:0:', 'tty:x:5:', 'hello:x:1000:', 'nogroup:x:65534:', ''].join('\n'),
  // No password fits: keys alone let anybody in.
  'etc/shadow': ['root:*:19000:0:99999:7:::', 'hello:*:19000:0:99999:7:::', ''].join('\n'),
  'etc/shells': '/bin/sh\n',
  'etc/profile': "export PS1='\\h:\\w\\$ '\nalias ll='ls -la'\n",
  'etc/os-release': 'NAME=Landfall\nID=landfall\nPRETTY_NAME="Landfall small"\n',
  'etc/motd': [
    'This machine is yours, root and all. What you put on its disk stays.',
    'A program that listens on a port, on any address but loopback, has a name of its own at once:',
    '  httpd -p 8080 -h /srv',
    '',
  ].join('\n'),
}

const SMALL: ImageConfig = { init: 'own' }
const HELLO = {
  init: 'own',
  command: ['/usr/sbin/httpd', '-f', '-p', '8000', '-h', '/srv/hello', '-u', 'hello:hello'],
  port: 8000,
} as const satisfies ImageConfig
/** Without the detour of other images by env and setpriv: it takes 60 ms of the boot under emulation. */
const START = `#!/bin/sh\nexec ${HELLO.command.join(' ')}\n`

/** Programs are those of the tools disk, so the tree takes no space for them. `folder` is made. @throws SidecarError */
export async function buildSmallTree(folder: string, boot: BootFiles): Promise<ImageTree> {
  await buildTree(folder, boot, SMALL)
  return { folder, config: SMALL }
}

/** As the small one, and with a page on port 8000. */
export async function buildHelloTree(folder: string, boot: BootFiles): Promise<ImageTree> {
  await buildTree(folder, boot, HELLO)
  const page = join(folder, 'srv/hello/cgi-bin/index.cgi')
  await mkdir(dirname(page), { recursive: true })
  await copyFile(new URL('guest/hello-page.sh', import.meta.url), page)
  await chmod(page, 0o755)
  await writeFile(join(folder, 'etc/landfall/start'), START)
  await chmod(join(folder, 'etc/landfall/start'), 0o755)
  return { folder, config: HELLO }
}

async function buildTree(folder: string, boot: BootFiles, config: ImageConfig): Promise<void> {
  for (const path of FOLDERS) await mkdir(join(folder, path), { recursive: true })
  await chmod(join(folder, 'tmp'), 0o1777)
  await chmod(join(folder, 'var/tmp'), 0o1777)
  await chmod(join(folder, 'root'), 0o700)
  for (const [path, text] of Object.entries(FILES)) await writeFile(join(folder, path), text)
  await chmod(join(folder, 'etc/shadow'), 0o600)
  await mkdir(join(folder, 'etc/landfall'))
  await writeFile(join(folder, 'etc/landfall/init'), `${config.init}\n`)
  await linkPrograms(folder, boot)
}

/** One link for each of busybox's programs, to the busybox of the tools disk. */
async function linkPrograms(folder: string, boot: BootFiles): Promise<void> {
  await symlink('/.landfall/bin/busybox', join(folder, 'bin/busybox'))
  for (const path of await listPrograms(boot)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await symlink('/bin/busybox', join(folder, path)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  }
}

/** As `bin/ash`. The busybox of the tools disk itself tells what it has. */
async function listPrograms({ toolsFile }: BootFiles): Promise<string[]> {
  const work = await mkdtemp(`${toolsFile}.`)
  try {
    const busybox = join(work, 'busybox')
    await runCommand('debugfs', ['-R', `dump /bin/busybox ${busybox}`, toolsFile])
    await chmod(busybox, 0o755)
    return (await runCommand(busybox, ['--list-full'])).split('\n').filter(Boolean)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}
