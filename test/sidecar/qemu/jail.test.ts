/** What a VMM may be and see: a user of its own, no capability, and nothing of other VMs or of this machine. */

import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { guestOptions } from '../../helpers/guests.ts'
import { pidOf, specOf, worldFor } from './worlds.ts'

t.setTimeout(300_000)
const options = await guestOptions()
const isRoot = process.getuid?.() === 0
const needsRoot = isRoot ? options : { ...options, skip: 'users of their own take root' }

function statusOf(pid: number): ReadonlyMap<string, string> {
  const lines = readFileSync(`/proc/${pid}/status`, 'utf8').split('\n')
  return new Map(lines.map((line) => [line.split(':')[0] ?? '', line.split(':')[1]?.trim() ?? '']))
}

t.test(
  'a VMM runs as a user of its own, without any right, in namespaces of its own',
  needsRoot,
  async (t) => {
    const { vmm, folder } = await worldFor(t)
    const one = await vmm.start(specOf('one'))
    for (const program of ['qemu-system-x86_64', 'qemu-storage-daemon']) {
      const pid = pidOf(folder, program)
      const status = statusOf(pid)
      t.match(status.get('Uid'), /^600001\s600001\s600001\s600001$/)
      t.match(status.get('Gid'), /^600001\s600001\s600001\s600001$/)
      t.equal(status.get('Groups'), '', 'no other groups')
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
        t.match(status.get(set), /^0+$/, `${program} ${set}`)
      }
      t.equal(status.get('NoNewPrivs'), '1')
      t.not(readlinkSync(`/proc/${pid}/ns/mnt`), readlinkSync('/proc/self/ns/mnt'))
      t.not(readlinkSync(`/proc/${pid}/ns/ipc`), readlinkSync('/proc/self/ns/ipc'))
    }
    t.equal(statusOf(pidOf(folder, 'qemu-system-x86_64')).get('Seccomp'), '2', 'its calls are filtered')
    await one.stop(0)
  },
)

t.test('a VMM sees its own sockets and what it boots from, and nothing else', needsRoot, async (t) => {
  const { vmm, folder } = await worldFor(t)
  const one = await vmm.start(specOf('one'))
  const root = `/proc/${pidOf(folder, 'qemu-system-x86_64')}/root`
  const two = await vmm.start(specOf('two'))
  t.same(readdirSync(join(root, folder)), ['sockets'])
  t.same(readdirSync(join(root, folder, 'sockets')), ['1'], 'not those of the other VM')
  const disk = join(folder, 'sockets/1/disk')
  t.same(readdirSync(root + disk), ['export'], 'not the control of its disk')
  t.same(readdirSync(`${root}${disk}/export`), ['disk.sock'])
  t.equal(statSync(disk).uid, 0)
  const mounts = readFileSync(`/proc/${pidOf(folder, 'qemu-system-x86_64')}/mountinfo`, 'utf8')
  t.match(mounts, `${disk}/export `)
  t.notMatch(mounts, 'disk.sock', 'a link in its place would be mounted')
  for (const path of ['/home', '/root', '/proc', '/sys', '/etc/passwd', '/var', '/run']) {
    t.notOk(existsSync(root + path), path)
  }
  t.same(readdirSync(`${root}/dev`).toSorted(), ['null', 'random', 'urandom', 'zero'])
  await Promise.all([one.stop(0), two.stop(0)])
})
