/** Keys that change while nobody can tell the guest: they are in force when its VM counts as up again. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { digestOfKeys, GuestKeys } from '../../../sidecar/hypervisor/guest-keys.ts'
import { runCommand } from '../../../sidecar/run-command.ts'
import type { RunningVm } from '../../../sidecar/vmm.ts'
import { folderFor } from '../../helpers/folder.ts'
import { guestOptions } from '../../helpers/guests.ts'
import { until } from '../../helpers/until.ts'
import { addressOf, openWorld, specOf, worldFor } from './worlds.ts'

t.setTimeout(300_000)
const options = await guestOptions()

interface Login {
  readonly line: string
  readonly file: string
}

async function loginFor(folder: string, name: string): Promise<Login> {
  const file = join(folder, name)
  await runCommand('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', file])
  return { file, line: readFileSync(`${file}.pub`, 'utf8').trim() }
}

/** True when the guest lets it in; false when it says no. @throws Error when it does not answer */
async function canLogIn(vm: RunningVm, { file }: Login): Promise<boolean> {
  const { host, port } = addressOf(vm, 22)
  const given = ['-o', 'BatchMode=yes', '-o', 'IdentitiesOnly=yes', '-o', 'IdentityAgent=none']
  const unknown = ['-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null']
  const args = ['-F', 'none', '-i', file, '-p', String(port), ...given, ...unknown, `root@${host}`, 'true']
  try {
    await runCommand('ssh', args, { timeoutMs: 30_000 })
    return true
  } catch (error) {
    if (/Permission denied \(publickey\)/.test(String(error))) return false
    throw error
  }
}

t.test('keys that changed while a VM slept are in force when it is up', options, async (t) => {
  const { vmm, folder, complaints } = await worldFor(t)
  const [old, kept] = [await loginFor(folder, 'old'), await loginFor(folder, 'kept')]
  const spec = specOf('keys', { authorizedKeys: [old.line, kept.line] })
  const vm = await vmm.start(spec)
  await until(() => vm.facts.ports[22] !== undefined, 'SSH listens')
  t.equal(await canLogIn(vm, old), true)
  await vm.suspend()
  const woken = await vmm.start({ ...spec, authorizedKeys: [kept.line] })
  t.equal(await canLogIn(woken, old), false, 'what was taken away opens nothing')
  t.equal(await canLogIn(woken, kept), true)
  await woken.suspend()
  const again = await vmm.start({ ...spec, authorizedKeys: [old.line] })
  t.equal(await canLogIn(again, old), true)
  t.equal(await canLogIn(again, kept), false)
  t.same(complaints, [])
  await again.stop(0)
})

t.test('keys that changed while no sidecar ran are in force after the adoption', options, async (t) => {
  const folder = folderFor(t)
  const [old, kept] = [await loginFor(folder, 'old'), await loginFor(folder, 'kept')]
  const spec = specOf('orphan', { authorizedKeys: [old.line, kept.line] })
  t.teardown(async () => {
    await using world = await openWorld(folder)
    await world.vmm.sweep([])
  })
  await using world = await openWorld(folder)
  const vm = await world.vmm.start(spec)
  await until(() => vm.facts.ports[22] !== undefined, 'SSH listens')
  t.equal(await canLogIn(vm, old), true)
  await vm.detach()
  await world[Symbol.asyncDispose]()

  await using next = await openWorld(folder)
  const adopted = await next.vmm.adopt({ ...spec, authorizedKeys: [kept.line] })
  if (!adopted) throw new Error('it was not adopted')
  t.equal(await canLogIn(adopted, old), false)
  t.equal(await canLogIn(adopted, kept), true)
  await adopted.stop(0)
})

t.test('a guest is asked until it has the keys, and again when it may have others', async (t) => {
  const asked: string[] = []
  const noted: string[] = []
  let answers = true
  const agent = {
    request: async (name: string) => {
      asked.push(name)
      if (!answers) throw new Error('no answer')
    },
  }
  const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }
  const note = async (given: string) => void noted.push(given)
  const keys = new GuestKeys({ vm: 'x', agent, log, given: digestOfKeys(['a']), note })
  t.teardown(() => keys.close())
  await keys.want(['a'])
  t.same(asked, [], 'one that has them is left alone')
  answers = false
  const wanted = keys.want(['b'])
  await until(() => asked.length === 2, 'it is asked again')
  t.same(noted, ['', ''], 'what it has is not known meanwhile')
  answers = true
  // Whoever wants the first ones back must not believe that they are there.
  await keys.want(['a'])
  await wanted
  t.equal(noted.at(-1), digestOfKeys(['a']))
})
