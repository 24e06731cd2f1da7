/** `npm start` with nothing prepared: it builds its guest, and the guest answers; the next start finds it built. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { folderFor } from '../helpers/folder.ts'
import { askVm, endLeftoversFor, processesOf, untilSlowly } from '../helpers/guest-landfall.ts'
import { guestOptions } from '../helpers/guests.ts'
import { isRunning } from '../helpers/landfall.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const options = await guestOptions()
/** The kernel's package comes from Debian's archive, and is unpacked. */
const BUILD_MS = 100_000
const BUILDING = /^preparing kernel, initramfs and tools$/m

t.test('npm start builds a guest that answers, once', options, async (t) => {
  const dataFolder = join(folderFor(t), 'data')
  const first = await checkStart(t, dataFolder)
  t.match(first.stderr, BUILDING)
  t.match(first.stderr, /^making its root file system$/m)
  const second = await checkStart(t, dataFolder)
  t.notMatch(second.stderr, BUILDING)
  t.ok(
    second.readyMs < first.readyMs,
    `${Math.round(second.readyMs)} ms after ${Math.round(first.readyMs)} ms`,
  )
})

/** From the command to its end, with a request in between. */
async function checkStart(t: Test, dataFolder: string) {
  const startedAt = performance.now()
  const { port, child, texts } = await npmStartFor(t, dataFolder)
  const readyMs = performance.now() - startedAt
  const ca = readFileSync(join(dataFolder, 'ca.pem'), 'utf8')
  const answer = () => askVm({ httpsPort: port, ca }, 'hello')
  // A machine that is busy may be ready before its guest is.
  await untilSlowly(async () => (await answer()).status === 200, 'hello answers')
  t.match(await answer(), { text: /^Hello from the VM hello\.localhost, up for \d+ seconds/ }, 'from inside')
  const guests = await guestsOf(dataFolder)
  t.ok(guests.length >= 2, 'a VMM and what serves its disk')
  // What Ctrl-C does in a terminal: everybody in the foreground is told.
  process.kill(-(child.pid ?? 0), 'SIGINT')
  await untilSlowly(async () => child.exitCode !== null || child.signalCode !== null, 'it has ended')
  await untilSlowly(async () => !guests.some(isRunning), 'its guest has ended')
  return { readyMs, stderr: texts.stderr }
}

async function npmStartFor(t: Test, dataFolder: string) {
  endLeftoversFor(t, { dataFolder, cgroup: 'npm-start-group' })
  const { PATH } = process.env
  const settings = { LANDFALL_HTTPS_PORT: '0', LANDFALL_HTTP_PORT: '0', LANDFALL_OPS_PORT: '0' }
  const child = spawn('npm', ['start'], {
    cwd: ROOT,
    env: {
      PATH,
      HOME: folderFor(t),
      LANDFALL_DATA: dataFolder,
      LANDFALL_CGROUP: 'npm-start-group',
      ...settings,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const ended = once(child, 'close')
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-(child.pid ?? 0), 'SIGKILL')
    await ended
  })
  const texts = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text
    })
  }
  const port = () =>
    Number(/^landfall ready https:\/\/hello\.localhost:(\d+)\/$/m.exec(texts.stdout)?.[1] ?? 0)
  await untilSlowly(async () => port() > 0 || child.exitCode !== null, 'it is ready', BUILD_MS)
  if (port() === 0) throw new Error(`npm start ended before it was ready:\n${texts.stderr}`)
  return { port: port(), child, texts }
}

/** QEMU and its storage daemon, which have the folder in their command lines. */
async function guestsOf(dataFolder: string): Promise<readonly number[]> {
  const ids = await processesOf(dataFolder)
  const lines = await Promise.all(ids.map((id) => readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '')))
  return ids.filter((_, index) => lines[index]?.startsWith('qemu-'))
}
