/** Real guests for tests: boot files and an image, built once for each state of their sources, and shared by all tests of this machine. */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { globSync, readFileSync } from 'node:fs'
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildBootFiles } from '../../sidecar/guests/boot-files.ts'
import { buildHelloTree } from '../../sidecar/guests/small-image.ts'
import { createTemplates, type TemplateStore } from '../../sidecar/guests/template-store.ts'
import { runCommand } from '../../sidecar/run-command.ts'

const SOURCES = new URL('../../sidecar/guests/', import.meta.url).pathname
const IMAGE_BYTES = 1_073_741_824
const POLL_MS = 200
/** Of one test, on a busy machine. */
const TIME_LIMIT_MS = 120_000

/**
 * At /cgi-bin/facts.cgi: how often it was asked (in memory), how many lines it wrote (on disk, synced), the guest's
 * time in seconds, random bytes in hex, the sectors of its disk and the KiB of its root file system.
 */
const FACTS = `#!/bin/sh
asked=0
[ -f /dev/shm/asked ] && read -r asked </dev/shm/asked
asked=$((asked + 1))
echo $asked >/dev/shm/asked
echo $asked >>/tmp/log
sync
printf 'Content-Type: text/plain\\r\\n\\r\\n'
echo $asked $(wc -l </tmp/log) $(date +%s) $(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' ') $(cat /sys/block/vda/size) $(df -k / | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2)
`

/** For tests with guests, before the first: `{ skip }` where they cannot run, else the image is there when it settles. */
export async function guestOptions(): Promise<{ readonly skip?: string; readonly timeout: number }> {
  const skip = await findGuestObstacle()
  if (skip !== undefined) return { skip, timeout: TIME_LIMIT_MS }
  await guestFolder()
  return { timeout: TIME_LIMIT_MS }
}

/** What keeps real guests from running here; undefined when nothing does. */
export async function findGuestObstacle(): Promise<string | undefined> {
  const programs = ['qemu-system-x86_64', 'qemu-storage-daemon', 'qemu-img', 'mke2fs', 'lz4']
  for (const program of programs) {
    const isThere = await runCommand('/bin/sh', ['-c', `command -v ${program}`]).then(
      () => true,
      () => false,
    )
    if (!isThere) return `${program} is not installed`
  }
  return undefined
}

/** A data folder with the image `hello`; nobody writes to it any more. */
export async function guestFolder(): Promise<string> {
  const folder = join(tmpdir(), `landfall-guests-${digestOfSources()}`)
  await using _lock = await lockFor(folder)
  const templates = createTemplates(folder)
  const names = await templates.list().catch((): readonly string[] => [])
  if (names.includes('hello')) return folder
  await build(folder, templates)
  return folder
}

async function build(folder: string, templates: TemplateStore): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o755 })
  const boot = await buildBootFiles(folder)
  const tree = join(folder, 'hello-tree')
  await rm(tree, { recursive: true, force: true })
  const { config } = await buildHelloTree(tree, boot)
  const facts = join(tree, 'srv/hello/cgi-bin/facts.cgi')
  await writeFile(facts, FACTS)
  await chmod(facts, 0o755)
  await templates.packTemplate({ name: 'hello', tree, config, boot: boot.digest, sizeBytes: IMAGE_BYTES })
  await rm(tree, { recursive: true, force: true })
}

function digestOfSources(): string {
  const hash = createHash('sha256').update(FACTS)
  for (const path of globSync('**/*', { cwd: SOURCES, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  )) {
    hash.update(path.name).update(readFileSync(join(path.parentPath, path.name)))
  }
  return hash.digest('hex').slice(0, 16)
}

/** A name that one process of this machine has at a time, and loses when it ends, however it ends. */
async function lockFor(folder: string): Promise<AsyncDisposable> {
  for (;;) {
    const server = createServer()
    server.listen(`\0${folder}`)
    const isOurs = await once(server, 'listening').then(
      () => true,
      () => false,
    )
    if (isOurs) return server
    await sleep(POLL_MS)
  }
}
