/** The Debian image: systemd comes up, and network, name and SSH are those of our init. */

import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import t from 'tap'
import { buildBootFiles } from '../../../sidecar/guests/boot-files.ts'
import { buildDebianImage, prepareDebianTree } from '../../../sidecar/guests/debian-image.ts'
import { createTemplates } from '../../../sidecar/guests/template-store.ts'
import { runCommand } from '../../../sidecar/run-command.ts'
import { folderFor } from '../../helpers/folder.ts'
import { bootedImageFor } from './booted-image.ts'

const run = promisify(execFile)
const UP = /^(running|degraded)$/

/** Building takes half a minute, booting a quarter of one, and three times as long beside other tests. */
const isSlowWanted = process.env.LANDFALL_SLOW === '1'
const skip = isSlowWanted ? false : 'takes a minute or two: set LANDFALL_SLOW=1'
t.setTimeout(300_000)

t.test('what would meddle with network, names and consoles is taken out of the tree', async (t) => {
  const tree = folderFor(t)
  for (const path of ['etc/systemd/system', 'var/lib/dbus']) mkdirSync(join(tree, path), { recursive: true })
  for (const path of ['etc/hostname', 'etc/resolv.conf', 'etc/machine-id', 'var/lib/dbus/machine-id'])
    writeFileSync(join(tree, path), 'of the machine that built it\n')
  await prepareDebianTree(tree)
  for (const path of ['etc/hostname', 'etc/resolv.conf', 'var/lib/dbus/machine-id'])
    t.notOk(existsSync(join(tree, path)), path)
  t.equal(readFileSync(join(tree, 'etc/machine-id'), 'utf8'), '')
  t.equal(readFileSync(join(tree, 'etc/landfall/init'), 'utf8'), 'system\n')
  for (const unit of [
    'systemd-networkd.service',
    'systemd-resolved.service',
    'serial-getty@ttyS0.service',
    'apt-daily.timer',
  ])
    t.equal(readlinkSync(join(tree, 'etc/systemd/system', unit)), '/dev/null', unit)
})

t.test(
  'the Debian image boots into systemd with everything that was set up for it',
  { skip, timeout: 300_000 },
  async (t) => {
    const folder = folderFor(t)
    const data = join(folder, 'data')
    const { digest } = await buildBootFiles(data)
    const steps: string[] = []
    const build = {
      name: 'debian',
      boot: digest,
      env: process.env,
      say: (line: string) => void steps.push(line),
    }
    const template = await buildDebianImage(createTemplates(data), build)
    t.same(template.config, { init: 'system' })
    t.match(steps, [/installing Debian/, /root file system/])

    const key = join(folder, 'key')
    await runCommand('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
    const guest = await bootedImageFor(t, template, join(folder, 'run'), {
      ...{ port: 22, memoryMiB: 256, hostname: 'tiger' },
      authorizedKeys: readFileSync(`${key}.pub`, 'utf8'),
    })
    await guest.listening(60_000)
    const ssh = async (command: string) => {
      const options = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR'].flatMap(
        (it) => ['-o', it],
      )
      const { stdout } = await run('ssh', [
        ...options,
        '-i',
        key,
        '-p',
        `${guest.port}`,
        'root@127.0.0.1',
        command,
      ])
      return stdout.trim()
    }
    const deadline = Date.now() + 60_000
    const findState = () => ssh('systemctl is-system-running || true')
    let state = await findState()
    while (!UP.test(state) && Date.now() < deadline) {
      await pause(500)
      state = await findState()
    }
    t.equal(state, 'running', await ssh('systemctl --failed --no-legend || true'))
    t.equal(await ssh('hostnamectl hostname'), 'tiger')
    t.equal(await ssh('cat /etc/resolv.conf'), 'nameserver 169.254.0.3')
    t.match(await ssh('ip -4 -brief address show eth0'), /169\.254\.0\.15\/16/)
    t.match(await ssh('ip route show default'), /^default via 169\.254\.0\.2 dev eth0/)
    t.match(await ssh('cat /etc/machine-id'), /^[0-9a-f]{32}$/, 'made at the first boot')
    t.equal(await ssh('stat -c %u:%g:%a /etc/shadow'), '0:42:640', 'owners are as Debian made them')
    t.equal(await ssh('systemctl is-enabled apt-daily.timer || true'), 'masked')
    t.match(await ssh('command -v curl rsync sudo nano'), /nano/)
  },
)
