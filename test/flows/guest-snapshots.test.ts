/** Snapshots of a real guest: branched, restored, and outliving what they came from. */

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { folderFor } from '../helpers/folder.ts'
import { findManifest, mountLayer, readInside } from '../helpers/guest-disk.ts'
import { type GuestLandfall, guestLandfallFor, ownerFor, untilSlowly } from '../helpers/guest-landfall.ts'
import { guestOptions } from '../helpers/guests.ts'
import { missingSsh } from '../helpers/sshd.ts'

const { skip = missingSsh(), timeout } = { skip: undefined, ...(await guestOptions()) }

t.test('snapshots of a guest', { skip, timeout }, async (t) => {
  const landfall = await guestLandfallFor(t, { hello: 'kept' })
  const { ssh } = await ownerFor(t, landfall)
  await landfall.must('port', 'set', 'hello', '22', '--public')
  const write = async (text: string) => {
    const { code, stderr } = await ssh('hello', `echo ${text} >/srv/hello/note.txt; sync`)
    if (code !== 0) throw new Error(`nothing was written: ${stderr}`)
  }
  await write('early')
  const early = await landfall.must('snapshot', 'make', 'hello', '--label', 'a good moment')
  await write('late')

  await landfall.must('snapshot', 'branch', 'hello', early, 'branch')
  await landfall.must('port', 'set', 'branch', '8000', '--public')
  await untilNote(landfall, 'branch', 'early')
  t.match(await landfall.ask('branch'), { text: /^Hello from the VM branch\.localhost/ })
  t.equal((await noteOf(landfall, 'hello')).text, 'late\n')

  const kept = await landfall.must('snapshot', 'restore', 'hello', early)
  await untilNote(landfall, 'hello', 'early')
  const list = await landfall.must('snapshot', 'list', 'hello')
  t.match(list, new RegExp(`^${early} .*a good moment`, 'm'))
  t.match(list, new RegExp(`^${kept} .*kept`, 'm'), 'the present was put aside')
  await landfall.must('snapshot', 'restore', 'hello', kept)
  await untilNote(landfall, 'hello', 'late')

  await landfall.must('vm', 'delete', 'hello')
  await untilSlowly(async () => !(await hasFolder(landfall, 'hello')), 'the source is gone')
  await landfall.must('vm', 'restart', 'branch')
  await untilNote(landfall, 'branch', 'early')
  await landfall.must('vm', 'stop', 'branch')
  const image = join(folderFor(t), 'image')
  const layer = (await findManifest(landfall.dataFolder, 'branch'))?.layers.at(-1) ?? ''
  await mountLayer(landfall.dataFolder, layer, image)
  t.equal(await readInside(image, '/srv/hello/note.txt'), 'early\n', 'what was made from it is whole')
})

function noteOf(landfall: GuestLandfall, vm: string) {
  return landfall.ask(vm, { path: '/note.txt' })
}

async function untilNote(landfall: GuestLandfall, vm: string, text: string): Promise<void> {
  const isThere = async () => (await noteOf(landfall, vm)).text === `${text}\n`
  await untilSlowly(isThere, `${vm} has the note ${text}`)
}

async function hasFolder({ dataFolder }: GuestLandfall, vm: string): Promise<boolean> {
  return (await readdir(join(dataFolder, 'vms'))).some((name) => name.startsWith(`${vm}-`))
}
