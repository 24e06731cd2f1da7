/**
 * A guest's root feeds a device with nonsense, over and over. QEMU and the storage daemon complain of each on their
 * output, which goes to a file on the disk of all VMs. It is cut off from time to time, while they write on.
 */

import { appendFile, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { limitOutput } from '../../sidecar/hypervisor/output-limit.ts'
import { folderOf } from '../../sidecar/hypervisor/vm-folder.ts'
import { launch } from '../../sidecar/launch.ts'
import { isAlive, signalProcess } from '../../sidecar/process-identity.ts'
import { folderFor } from '../helpers/folder.ts'
import { guestOptions } from '../helpers/guests.ts'
import { until } from '../helpers/until.ts'
import { specOf, worldFor } from '../sidecar/qemu/worlds.ts'

const MIB = 1_048_576
const options = await guestOptions()

const sizeOf = async (file: string) => (await stat(file)).size

t.test('output that does not end is cut off, and goes on behind that', async (t) => {
  const logFile = join(folderFor(t), 'log')
  const line = 'a request without a head'.padEnd(200, '.')
  const vmm = await launch({ command: 'yes', args: [line], logFile, groups: [] })
  t.teardown(() => signalProcess(vmm, 'SIGKILL'))
  await until(async () => (await sizeOf(logFile)) > 2 * MIB, 'it has filled some of the disk')
  signalProcess(vmm, 'SIGSTOP')
  await sleep(50)
  await limitOutput(logFile)
  t.equal(await sizeOf(logFile), 0)
  signalProcess(vmm, 'SIGCONT')
  await until(async () => (await sizeOf(logFile)) > 0, 'it goes on')
  signalProcess(vmm, 'SIGKILL')
  await until(() => !isAlive(vmm), 'it has ended')
  t.match((await readFile(logFile, 'latin1')).slice(0, 1_000), 'a request', 'without a hole before it')
})

t.test('that is done whenever the use of VMs is counted', options, async (t) => {
  const { vmm, folder } = await worldFor(t)
  const spec = specOf('one')
  const vm = await vmm.start(spec)
  const { vmmLog, diskLog } = folderOf(folder, spec)
  for (const file of [vmmLog, diskLog]) await appendFile(file, Buffer.alloc(3 * MIB, 'x'))
  await vmm.sampleUsage()
  for (const file of [vmmLog, diskLog]) t.equal(await sizeOf(file), 0)
  await vm.stop(0)
})
