/** The images that the host benchmark boots: `hello`, and one beside it whose web server runs what it is sent as a script. */

import { chmod, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type BootFiles, buildBootFiles } from '../../sidecar/guests/boot-files.ts'
import { buildHelloTree } from '../../sidecar/guests/small-image.ts'
import type { Template } from '../../sidecar/guests/template.ts'
import { createTemplates } from '../../sidecar/guests/template-store.ts'
import { toIoProgram } from './io-program.ts'

/** In guests of the image `shell`. */
export const IO_PROGRAM = '/bin/io'
export const SHELL_IMAGE = 'shell'
/** A file that its web server sends as it is, without starting any program. */
export const PAGE = 'page.txt'
export const PAGE_TEXT = 'a page of text\n'

const SHELL = `#!/bin/sh
printf 'Content-Type: application/octet-stream\\r\\n\\r\\n'
exec sh
`
/** As root, for it to open disks. */
const START = '#!/bin/sh\nexec /usr/sbin/httpd -f -p 8000 -h /srv/hello\n'

export interface Images {
  readonly boot: BootFiles
  readonly shell: Template
}

/** Their disks have 20 GiB, as those of every image have. @throws SidecarError */
export async function buildImages(dataFolder: string, say: (line: string) => void): Promise<Images> {
  await mkdir(dataFolder, { recursive: true, mode: 0o700 })
  const boot = await buildBootFiles(dataFolder, { progress: say })
  await packHello(dataFolder, { name: 'hello', boot })
  return { boot, shell: await packHello(dataFolder, { name: SHELL_IMAGE, boot, addTo: addShell }) }
}

interface Packing {
  readonly name: string
  readonly boot: BootFiles
  readonly addTo?: (tree: string) => Promise<void>
}

async function packHello(dataFolder: string, { name, boot, addTo }: Packing): Promise<Template> {
  const tree = join(dataFolder, `tree-${name}`)
  const { config } = await buildHelloTree(tree, boot)
  await addTo?.(tree)
  const packed = await createTemplates(dataFolder).packTemplate({ name, tree, config, boot: boot.digest })
  await rm(tree, { recursive: true, force: true })
  return packed
}

async function addShell(tree: string): Promise<void> {
  await writeFile(join(tree, 'srv/hello', PAGE), PAGE_TEXT)
  const programs = [
    { path: join(tree, 'srv/hello/cgi-bin/shell.cgi'), content: SHELL },
    { path: join(tree, IO_PROGRAM), content: toIoProgram() },
    { path: join(tree, 'etc/landfall/start'), content: START },
  ]
  for (const { path, content } of programs) {
    await writeFile(path, content)
    await chmod(path, 0o755)
  }
}
