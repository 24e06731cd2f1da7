/** A VM's life with a real guest: made, stopped, started, restarted, enlarged and deleted. */

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import {
  type GuestLandfall,
  guestLandfallFor,
  ownerFor,
  processesOf,
  untilSlowly,
} from '../helpers/guest-landfall.ts'
import { guestOptions } from '../helpers/guests.ts'

const options = await guestOptions()
const MIB = 1_048_576

async function layersOf({ dataFolder }: GuestLandfall): Promise<readonly string[]> {
  const names = await readdir(join(dataFolder, 'disks', 'default')).catch(() => [])
  return names.filter((name) => name.endsWith('.qcow2'))
}

async function vmFoldersOf({ dataFolder }: GuestLandfall): Promise<readonly string[]> {
  return readdir(join(dataFolder, 'vms'))
}

t.test('a VM answers when it is made, keeps its disk, grows and goes', options, async (t) => {
  const landfall = await guestLandfallFor(t)
  const { ssh } = await ownerFor(t, landfall)
  const url = await landfall.must('vm', 'new', 'web', '--public', '--memory', '128M', '--disk', '1G')
  t.equal(url, `https://web.localhost:${landfall.httpsPort}/`)
  const first = await landfall.ask('web')
  t.match(first, { status: 200, text: /^Hello from the VM web\.localhost, up for \d+ seconds/ })
  t.match(await landfall.facts('web'), { asked: 1, logged: 1 })
  await landfall.must('port', 'set', 'web', '22', '--public')

  t.match(await ssh('web', 'echo kept >note'), { code: 0, stderr: '' })
  await landfall.must('vm', 'stop', 'web')
  t.equal((await landfall.ask('web')).status, 503)
  t.same(await guestsOf(landfall), [], 'no program of it runs')
  await landfall.must('vm', 'start', 'web')
  await untilSlowly(async () => (await landfall.ask('web')).status === 200, 'it answers again')
  t.match(await landfall.facts('web'), { asked: 1, logged: 2 }, 'memory is new, the disk is not')

  const before = await sizeInside(ssh)
  t.ok(before > 800 * MIB && before <= 1_024 * MIB, `${before}`)
  await landfall.must('vm', 'set', 'web', '--disk', '2G')
  await landfall.must('vm', 'restart', 'web')
  await untilSlowly(async () => (await landfall.ask('web')).status === 200, 'it answers again')
  t.match(await landfall.facts('web'), { asked: 1, logged: 3 })
  t.match(await ssh('web', 'cat note'), { code: 0, stdout: 'kept\n' })
  await untilSlowly(async () => (await sizeInside(ssh)) > 1_800 * MIB, 'its file system is larger')

  const layers = await layersOf(landfall)
  t.ok(layers.length > 0)
  await landfall.must('vm', 'delete', 'web')
  await untilSlowly(async () => (await vmFoldersOf(landfall)).length === 0, 'its folder is gone')
  t.same(await layersOf(landfall), [])
  t.same(await guestsOf(landfall), [])
  t.equal((await landfall.ask('web')).status, 404)
})

/** Of VMs; the others are this platform's own. */
async function guestsOf({ dataFolder, pid }: GuestLandfall): Promise<readonly number[]> {
  return (await processesOf(dataFolder)).filter((id) => id !== pid)
}

async function sizeInside(ssh: Awaited<ReturnType<typeof ownerFor>>['ssh']): Promise<number> {
  const { stdout, stderr } = await ssh('web', "df -k / | awk 'END { print $2 }'")
  if (!/^\d+\n$/.test(stdout)) throw new Error(`df said ${stdout}${stderr}`)
  return Number(stdout) * 1_024
}
