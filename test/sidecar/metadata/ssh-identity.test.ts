/** A VM's SSH host key: OpenSSH and dropbear read the files that we write. */

import { spawnSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { openIdentity } from '../../../sidecar/metadata/ssh-identity.ts'

const isThere = (tool: string) => spawnSync(tool, ['-h']).error === undefined

t.test('is made once, for its owner alone, and is another for each VM', async (t) => {
  const folder = join(t.testdir(), 'vm', 'identity')
  const [first, same] = await Promise.all([openIdentity(folder), openIdentity(folder)])
  t.match(first.publicKey, /^ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}$/)
  t.same(same, first, 'two that come at once get one key')
  t.same(await openIdentity(folder), first)
  t.equal((await stat(join(folder, 'ssh_host_ed25519_key'))).mode & 0o777, 0o600)
  t.not((await openIdentity(t.testdir())).publicKey, first.publicKey)
})

t.test('OpenSSH reads the private key', { skip: !isThere('ssh-keygen') && 'needs ssh-keygen' }, async (t) => {
  const folder = t.testdir()
  for (let round = 0; round < 5; round += 1) {
    const { publicKey } = await openIdentity(join(folder, String(round)))
    const args = ['-y', '-P', '', '-f', join(folder, String(round), 'ssh_host_ed25519_key')]
    t.equal(spawnSync('ssh-keygen', args, { encoding: 'utf8' }).stdout.trim(), publicKey)
  }
})

t.test(
  'dropbear reads the private key',
  { skip: !isThere('dropbearkey') && 'needs dropbearkey' },
  async (t) => {
    const folder = t.testdir()
    const { publicKey, dropbear } = await openIdentity(folder)
    const file = join(folder, 'dropbear')
    writeFileSync(file, dropbear)
    chmodSync(file, 0o600)
    const said = spawnSync('dropbearkey', ['-y', '-f', file], { encoding: 'utf8' }).stdout
    t.ok(said.includes(publicKey), said)
  },
)

t.test('a damaged key is refused and never replaced: its clients know the old one', async (t) => {
  const folder = t.testdir()
  await openIdentity(folder)
  const file = join(folder, 'ssh_host_ed25519_key')
  const whole = await readFile(file, 'utf8')
  const middle = Math.floor(whole.length / 2)
  const other = whole[middle] === 'x' ? 'y' : 'x'
  const damaged = [
    '',
    whole.slice(0, -10),
    whole.slice(0, middle) + other + whole.slice(middle + 1),
    'ssh-ed25519',
  ]
  for (const text of damaged) {
    await writeFile(file, text)
    await t.rejects(openIdentity(folder), { code: 'host_file_failed', message: /ssh_host_ed25519_key/ })
    t.equal(await readFile(file, 'utf8'), text)
  }
})
