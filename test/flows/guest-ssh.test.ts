/** SSH into guests through the edge: with keys of the table alone, to the host that it should be, and one that sleeps. */

import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { folderFor } from '../helpers/folder.ts'
import {
  endedFor,
  type GuestLandfall,
  guestLandfallFor,
  sshKeyFor,
  untilSlowly,
} from '../helpers/guest-landfall.ts'
import { guestOptions } from '../helpers/guests.ts'
import { missingSsh } from '../helpers/sshd.ts'

const MAIN = fileURLToPath(new URL('../../main.ts', import.meta.url))
const { skip = missingSsh(), timeout } = { skip: undefined, ...(await guestOptions()) }
const FILE_BYTES = 300_000
const REFUSED = { code: 255, stdout: '', stderr: /Permission denied/ }

t.test('SSH into guests through the edge', { skip, timeout }, async (t) => {
  const landfall = await guestLandfallFor(t, { hello: 'kept' })
  const [owner, guest] = [sshKeyFor(t), sshKeyFor(t)]
  const as = (key: typeof owner) => (vm: string, command: string) =>
    landfall.run('ssh', '--identity', key.identity, vm, command)
  const ownerKey = await landfall.must('key', 'add', 'ann', owner.publicFile)
  await landfall.must('key', 'add', 'bob', guest.publicFile)
  await landfall.must('port', 'set', 'hello', '22', '--public')
  t.match(await as(owner)('hello', 'id'), REFUSED, 'a key that nothing was granted')

  await landfall.must('pool', 'set', 'default', '--owner', 'ann')
  await untilIn(() => as(owner)('hello', 'hostname'))
  t.match(await as(owner)('hello', 'id -un; echo heard >&2; exit 7'), {
    code: 7,
    stdout: 'root\n',
    stderr: /heard/,
  })
  t.match(await as(guest)('hello', 'id'), REFUSED, 'the key of another user')
  const grant = await landfall.must('grant', 'add', 'hello', 'user:bob', '--role', 'root')
  await untilIn(() => as(guest)('hello', 'hostname'))

  await checkHostKey(t, landfall)
  await checkCopies(t, landfall, owner.identity)
  await landfall.must('vm', 'suspend', 'hello')
  t.match(
    await as(owner)('hello', 'cat /dev/shm/note'),
    { code: 0, stdout: 'in memory\n' },
    'one that sleeps wakes',
  )

  await landfall.must('grant', 'delete', 'hello', grant)
  await untilSlowly(async () => (await as(guest)('hello', 'id')).code === 255, 'the grant is over')
  t.match(await as(guest)('hello', 'id'), REFUSED)
  t.match(await as(owner)('hello', 'true'), { code: 0 }, 'the owner is still let in')
  await landfall.must('vm', 'suspend', 'hello')
  await landfall.must('key', 'delete', ownerKey)
  t.match(await as(owner)('hello', 'id'), REFUSED, 'a key that was removed while the guest slept')
})

async function untilIn(login: () => Promise<{ readonly code: number | null }>): Promise<void> {
  await untilSlowly(async () => (await login()).code === 0, 'it lets us in')
}

async function checkHostKey(t: Test, landfall: GuestLandfall): Promise<void> {
  await landfall.must('vm', 'new', 'other', '--memory', '128M')
  await landfall.must('port', 'set', 'other', '22', '--public')
  const [hello, other] = await Promise.all(['hello', 'other'].map((vm) => hostKeyOf(landfall, vm)))
  t.match(hello, /^ssh-ed25519 AAAA/)
  t.match(other, /^ssh-ed25519 AAAA/)
  t.not(other, hello, 'each has a key of its own')
  t.equal(await scanKey(t, landfall, 'hello'), hello)
  t.equal(await scanKey(t, landfall, 'other'), other)
  await landfall.must('vm', 'delete', 'other')
}

async function hostKeyOf(landfall: GuestLandfall, vm: string): Promise<string | undefined> {
  return (await landfall.show(vm)).report?.hostKey
}

/** What the guest itself shows, whoever asks: ssh writes it down before it logs in. */
async function scanKey(t: Test, landfall: GuestLandfall, vm: string): Promise<string> {
  const known = join(folderFor(t), 'known')
  const args = sshOptions(vm, { UserKnownHostsFile: known, StrictHostKeyChecking: 'accept-new' })
  const { stderr } = await endedFor(t, 'ssh', [...args, `root@${vm}.localhost`, 'true'], envOf(landfall))
  const text = await readFile(known, 'utf8').catch(() => stderr)
  return text.trim().split(' ').slice(1, 3).join(' ')
}

async function checkCopies(t: Test, landfall: GuestLandfall, identity: string): Promise<void> {
  const folder = folderFor(t)
  const [from, back, known] = [join(folder, 'from'), join(folder, 'back'), join(folder, 'known')]
  const bytes = randomBytes(FILE_BYTES)
  await writeFile(from, bytes)
  await writeFile(known, `hello.localhost ${await hostKeyOf(landfall, 'hello')}\n`)
  const options = sshOptions('hello', {
    UserKnownHostsFile: known,
    StrictHostKeyChecking: 'yes',
    IdentityFile: identity,
  })
  const there = 'root@hello.localhost:file'
  for (const [source, target] of [
    [from, there],
    [there, back],
  ] as const) {
    const { code, stderr } = await endedFor(t, 'scp', [...options, source, target], envOf(landfall))
    t.equal(code, 0, stderr)
  }
  t.ok(bytes.equals(await readFile(back)), 'the file is the same after both ways')
  const note = await landfall.run('ssh', '--identity', identity, 'hello', 'echo in memory >/dev/shm/note')
  t.equal(note.code, 0)
}

function sshOptions(vm: string, values: Readonly<Record<string, string>>): string[] {
  const all = {
    ProxyCommand: `${process.execPath} ${MAIN} tunnel ${vm}`,
    IdentitiesOnly: 'yes',
    BatchMode: 'yes',
    ...values,
  }
  return ['-F', 'none', ...Object.entries(all).flatMap(([name, value]) => ['-o', `${name}=${value}`])]
}

function envOf({ dataFolder }: GuestLandfall) {
  return { LANDFALL_DATA: dataFolder }
}
