/** Real guests of the small images: from the kernel's first instruction over the agent's answers to a clean end. */

import { execFile, spawnSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { findBootFiles } from '../../../sidecar/guests/boot-files.ts'
import { toRefreshInput } from '../../../sidecar/guests/refresh-program.ts'
import { toStartScript } from '../../../sidecar/guests/start-script.ts'
import { createTemplates } from '../../../sidecar/guests/template-store.ts'
import { folderFor } from '../../helpers/folder.ts'
import { findGuestObstacle, guestFolder } from '../../helpers/guests.ts'
import { until } from '../../helpers/until.ts'
import { type BootedGuest, bootedGuestFor } from './boot-guest.ts'

const obstacle = await findGuestObstacle()
const skip = obstacle === undefined ? {} : { skip: obstacle }
const MIB = 1_048_576
const DAY_MS = 86_400_000

async function loadParts() {
  const data = await guestFolder()
  const { rootFile, kernelFile } = await createTemplates(data).get('hello')
  const boot = await findBootFiles(data, dirname(kernelFile).split('/').pop() ?? '')
  if (!boot) throw new Error('the boot files are gone')
  return { rootFile, boot }
}

function keyFor(t: Test) {
  const file = join(folderFor(t), 'key')
  spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file])
  return { file, line: readFileSync(`${file}.pub`, 'utf8').trim() }
}

interface Said {
  readonly code: number
  readonly text: string
}

/** Believes no host key but the guest's. */
function ssh(t: Test, guest: BootedGuest, { key, command }: { key: string; command: string }): Promise<Said> {
  const known = join(folderFor(t), 'known')
  writeFileSync(known, `[127.0.0.1]:${guest.sshPort} ${guest.hostKey}\n`)
  const options = [
    'StrictHostKeyChecking=yes',
    `UserKnownHostsFile=${known}`,
    'IdentitiesOnly=yes',
    'BatchMode=yes',
  ]
  const args = [
    '-F',
    'none',
    '-p',
    String(guest.sshPort),
    '-i',
    key,
    ...options.flatMap((option) => ['-o', option]),
  ]
  return new Promise((resolve) => {
    const child = execFile(
      'ssh',
      [...args, 'root@127.0.0.1', command],
      { timeout: 30_000 },
      (error, stdout, stderr) =>
        resolve({ code: error ? Number(error.code ?? 255) : 0, text: error ? stderr : stdout }),
    )
    child.stdin?.end()
  })
}

t.test(
  'a guest boots, does what its host asks, and ends cleanly',
  { timeout: 90_000, ...skip },
  async (t) => {
    const { rootFile, boot } = await loadParts()
    const own = join(folderFor(t), 'root.img')
    spawnSync('cp', ['--sparse=always', rootFile, own])
    chmodSync(own, 0o600)
    const [first, second] = [keyFor(t), keyFor(t)]
    const settings = { boot, rootFile: own, hostname: 'wonder', authorizedKeys: first.line }
    const guest = await bootedGuestFor(t, settings)
    const url = `http://127.0.0.1:${guest.httpPort}/`

    await guest.hear(/^ports (22 )?8000$/)
    const answer = await fetch(url, { headers: { 'x-mark': '<b>"it"</b>', accept: 'text/html' } })
    t.comment(`exec to answer: ${Math.round(performance.now() - guest.startedAt)} ms`)
    const page = await answer.text()
    t.equal(answer.status, 200)
    t.match(page, '<h1>Hello from the VM <b>wonder</b></h1>')
    t.match(page, 'x-mark: &lt;b&gt;&quot;it&quot;&lt;/b&gt;', 'a request cannot put markup into its page')
    t.match(await (await fetch(url)).text(), /^Hello from the VM wonder, up for \d+ seconds\./)
    t.equal(guest.lines[0], 'hello 1')

    await guest.hear('ports 22 8000')
    const run = (key: string, command: string) => ssh(t, guest, { key, command })
    t.same(await run(first.file, 'id -u; hostname'), { code: 0, text: '0\nwonder\n' })
    t.match(await run(second.file, 'id'), { code: 255, text: /Permission denied/ })

    settings.authorizedKeys = second.line
    t.equal(await guest.ask('keys'), 'done')
    t.match(
      await run(first.file, 'id'),
      { code: 255, text: /Permission denied/ },
      'a key that was taken back is of no use',
    )
    t.match(await run(second.file, 'true'), { code: 0 })

    const own9999 =
      'nc -l -p 9999 >/dev/null 2>&1 & nc -l -s 127.0.0.1 -p 7777 >/dev/null 2>&1 & sleep 4; kill $!; kill %1'
    const listening = run(second.file, own9999)
    await guest.hear('ports 22 8000 9999')
    await listening
    t.notOk(
      guest.lines.some((line) => line.includes('7777')),
      "a port on loopback is nobody else's",
    )

    t.equal(await guest.ask('net'), 'done')
    const [, connections, accepted] = /^net (\d+) (\d+)$/.exec(await guest.hear(/^net /)) ?? []
    t.equal(connections, '0')
    t.ok(Number(accepted) >= 6, `${accepted} connections were taken`)

    const tomorrow = Date.now() + DAY_MS
    const clock = 'date +%s; dd if=/dev/urandom bs=16 count=1 2>/dev/null | md5sum'
    t.equal(
      await guest.ask('refresh', toRefreshInput(tomorrow, Buffer.alloc(32, 1)).toString('base64')),
      'done',
    )
    const one = await run(second.file, clock)
    t.equal(
      await guest.ask('refresh', toRefreshInput(tomorrow, Buffer.alloc(32, 2)).toString('base64')),
      'done',
    )
    const other = await run(second.file, clock)
    const seconds = Number(one.text.split('\n')[0]) - tomorrow / 1000
    t.ok(seconds > -1 && seconds < 20, `the clock is ${seconds} s off`)
    t.not(one.text.split('\n')[1], other.text.split('\n')[1])
    t.equal(await guest.ask('refresh', 'AAAA'), 'failed refresh')
    t.equal(await guest.ask('nonsense'), 'failed unknown request')

    const grown = 1536 * MIB
    truncateSync(own, grown)
    await guest.resizeDisk(grown)
    t.equal(await guest.ask('grow'), 'done')
    const size = Number((await run(second.file, "df -m / | awk 'END { print $2 }'")).text)
    t.ok(size > 1400, `${size} MiB`)

    await guest.reconnect()
    const before = guest.lines.length
    guest.send('hello')
    await until(() => guest.lines.slice(before).includes('ports 22 8000'), 'all from the start to a new host')
    t.equal(guest.lines[before], 'hello 1')

    t.equal(await guest.ask('sync'), 'done')
    t.equal(await guest.ask('poweroff'), 'done')
    t.equal(await guest.ended, 0)
    const found = spawnSync('dumpe2fs', ['-h', own], { encoding: 'utf8' }).stdout
    t.match(found, /Filesystem state: +clean/)
    t.notMatch(found, /needs_recovery/)
    t.equal(spawnSync('e2fsck', ['-fn', own]).status, 0)
  },
)

t.test('a root with nothing but one program boots, too', { timeout: 60_000, ...skip }, async (t) => {
  const { boot } = await loadParts()
  const folder = folderFor(t)
  const tree = join(folder, 'tree')
  mkdirSync(join(tree, 'etc/landfall'), { recursive: true })
  mkdirSync(join(tree, 'www'))
  cpSync('/bin/busybox', join(tree, 'busybox'))
  writeFileSync(join(tree, 'www/index.html'), 'from scratch\n')
  writeFileSync(join(tree, 'etc/landfall/init'), 'own\n')
  const command = ['/busybox', 'httpd', '-f', '-p', '8000', '-h', '/www']
  const start = toStartScript({ command, ids: { uid: 1234, gid: 77, groups: [] } })
  writeFileSync(join(tree, 'etc/landfall/start'), start, { mode: 0o755 })
  const rootFile = join(folder, 'root.img')
  const packed = ['-q', '-t', 'ext4', '-E', 'root_owner=0:0', '-d', tree, rootFile, '64M']
  t.equal(spawnSync('fakeroot', ['mke2fs', ...packed]).status, 0)
  const key = keyFor(t)
  const guest = await bootedGuestFor(t, { boot, rootFile, hostname: 'bare', authorizedKeys: key.line })
  await guest.hear('ports 22 8000')
  t.equal(await (await fetch(`http://127.0.0.1:${guest.httpPort}/`)).text(), 'from scratch\n')
  const { text } = await ssh(t, guest, { key: key.file, command: 'hostname; ps -o user,args | grep ttp[d]' })
  t.match(text, /^bare\n1234 +\/busybox httpd/)
})
