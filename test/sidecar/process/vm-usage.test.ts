/** What VMs use: processor time, memory and disk, as the driver finds them. */

import { spawn } from 'node:child_process'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { measureFolder } from '../../../sidecar/folder-size.ts'
import { createProcessVmm } from '../../../sidecar/process/process-vmm.ts'
import { VmProcess } from '../../../sidecar/process/vm-process.ts'
import { sampleProcesses } from '../../../sidecar/process-usage.ts'
import { until } from '../../helpers/until.ts'
import { isAlive, listLog, REPORT } from '../vms.ts'

const CREATED_AT = '2026-01-31T12:00:00Z'
const MIB = 1_048_576
/** Works until it has used 0.4 s of processor time. */
const BURN = `
  for (let used = 0; used < 400_000; ) {
    for (let i = 0; i < 2_000_000; i += 1);
    const { user, system } = process.cpuUsage()
    used = user + system
  }`

async function vmFor(t: Test, program: string) {
  const folder = t.testdir({ 'vm.mjs': program })
  const { log, lines } = listLog()
  const images = new Map([['test', join(folder, 'vm.mjs')]])
  const vmm = createProcessVmm({ log }, { folder: join(folder, 'vms'), images })
  const start = async () => {
    const vm = await vmm.start({ name: 'one', createdAt: CREATED_AT, pool: 'default', image: 'test' })
    t.teardown(() => vm.stop(0))
    return vm
  }
  const usage = async () => {
    const [first] = await vmm.sampleUsage()
    if (!first) throw new Error('no VM runs')
    return first
  }
  const said = (text: string) => lines.some(({ line }) => String(line).startsWith(text))
  const numberAfter = (text: string) =>
    Number(
      String(lines.find(({ line }) => String(line).startsWith(text))?.line)
        .split(' ')
        .at(-1),
    )
  return { vmm, start, usage, said, numberAfter }
}

t.test('counts what a VM and its children use, also those that have ended', async (t) => {
  const program = `
    import { spawnSync, spawn } from 'node:child_process'
    ${BURN}
    spawnSync(process.execPath, ['-e', ${JSON.stringify(BURN)}])
    const child = spawn(process.execPath, ['-e', ${JSON.stringify(`${BURN} console.log('burnt'); setInterval(() => {}, 1000)`)}], { stdio: 'inherit', detached: true })
    process.on('exit', () => child.kill('SIGKILL'))
    console.log('child', child.pid)
    ${REPORT}`
  const { start, usage, said, numberAfter } = await vmFor(t, program)
  const vm = await start()
  await until(() => said('burnt'), 'all have worked')
  const { cpuSeconds, memoryBytes, seconds, ...rest } = await usage()
  t.match(rest, { vm: 'one', run: String, diskBytes: Number })
  t.ok(cpuSeconds >= 1.15 && cpuSeconds < 10, `${cpuSeconds} s of processor time`)
  t.ok(seconds > 0.5 && seconds < 60, `${seconds} s`)
  t.ok(memoryBytes > 40 * MIB && memoryBytes < 1_024 * MIB, `${memoryBytes / MIB} MiB`)
  process.kill(numberAfter('child'), 'SIGKILL')
  await until(() => !isAlive(numberAfter('child')), 'the child is gone')
  const later = await usage()
  t.ok(later.cpuSeconds >= cpuSeconds, 'never goes back')
  t.ok(later.memoryBytes < memoryBytes, 'memory does')
  await vm.stop(5_000)
})

t.test('does not take back what a process used that nobody waited for', async (t) => {
  const child = spawn('sleep', ['60'], { stdio: ['ignore', 'pipe', 'pipe', 'pipe'], detached: true })
  const vm = new VmProcess({ name: 'one', child, folder: t.testdir(), log: listLog().log })
  t.teardown(() => vm.stop(0))
  const readings = [5, 3, 4, 6].map((cpuSeconds) => vm.toUsage({ cpuSeconds, memoryBytes: 0 }).cpuSeconds)
  t.same(readings, [5, 5, 5, 6])
})

t.test('begins at nothing again when the VM does', async (t) => {
  const { vmm, start, usage } = await vmFor(t, `${BURN} ${REPORT}`)
  const first = await start()
  const before = await usage()
  await first.stop(0)
  t.same(await vmm.sampleUsage(), [], 'a VM that does not run uses nothing')
  await start()
  const after = await usage()
  t.not(after.run, before.run)
  t.ok(after.seconds < before.seconds + 5 && after.cpuSeconds < before.cpuSeconds + 0.4)
})

t.test('is not misled by the name of a process', async (t) => {
  const program = `process.title = ') R 1 1 1 (x) S'; ${BURN} ${REPORT}`
  const { start, usage } = await vmFor(t, program)
  await start()
  const { cpuSeconds } = await usage()
  t.ok(cpuSeconds >= 0.35 && cpuSeconds < 5, `${cpuSeconds} s`)
})

t.test('gives nothing for a process that does not exist', async (t) => {
  t.same([...(await sampleProcesses([999_999_999]))], [[999_999_999, { cpuSeconds: 0, memoryBytes: 0 }]])
  t.equal((await sampleProcesses([])).size, 0)
})

t.test('measures a folder without following links out of it', async (t) => {
  const outside = t.testdir({ inside: { deep: {} } })
  await writeFile(join(outside, 'big'), Buffer.alloc(8 * MIB, 1))
  const folder = join(outside, 'inside')
  await writeFile(join(folder, 'deep', 'file'), Buffer.alloc(MIB, 1))
  await symlink(outside, join(folder, 'up'))
  await symlink(join(outside, 'big'), join(folder, 'link'))
  await symlink(folder, join(folder, 'deep', 'circle'))
  const bytes = await measureFolder(folder)
  t.ok(bytes >= MIB && bytes < 2 * MIB, `${bytes} bytes`)
  t.equal(await measureFolder(join(folder, 'absent')), 0)
})

t.test('looks at no more entries than it was told', async (t) => {
  const folder = t.testdir()
  for (let index = 0; index < 20; index += 1) {
    await mkdir(join(folder, `${index}`))
    await writeFile(join(folder, `${index}`, 'file'), Buffer.alloc(65_536, 1))
  }
  const all = await measureFolder(folder)
  t.ok(all >= 20 * 65_536)
  t.ok((await measureFolder(folder, 25)) <= 5 * 65_536 + 20 * 8_192)
})

t.test("tells the room that a VM's files take, looked at once a minute", async (t) => {
  const program = `
    import { writeFileSync } from 'node:fs'
    writeFileSync('disk', Buffer.alloc(${MIB}, 1))
    process.on('SIGUSR2', () => { writeFileSync('more', Buffer.alloc(${MIB}, 1)); console.log('more') })
    console.log('pid', process.pid)
    ${REPORT}`
  const { start, usage, said, numberAfter } = await vmFor(t, program)
  await start()
  const { diskBytes } = await usage()
  t.ok(diskBytes >= MIB && diskBytes < 2 * MIB, `${diskBytes} bytes`)
  await until(() => said('pid'), 'it says its id')
  process.kill(numberAfter('pid'), 'SIGUSR2')
  await until(() => said('more'), 'it has written')
  t.equal((await usage()).diskBytes, diskBytes)
})
