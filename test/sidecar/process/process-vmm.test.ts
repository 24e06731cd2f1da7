/** VMs as child processes: how they start, what they see, and that none is left behind. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createProcessVmm } from '../../../sidecar/process/process-vmm.ts'
import { until } from '../../helpers/until.ts'
import { ask, HELLO_PROGRAM, isAlive, listLog, REPORT } from '../vms.ts'

/** Node's own for the IPC channel, and what the test runner puts into every child. */
const OF_NODE_AND_TAP = /^(NODE_CHANNEL|NODE_OPTIONS$|_TAPJS_)/
const VMM_MODULE = new URL('../../../sidecar/process/process-vmm.ts', import.meta.url).href

const CREATED_AT = '2026-01-31T12:00:00.123Z'
const FOLDER_OF_ONE = 'one-20260131T120000123Z'

/** A driver and a program with this text. */
function vmmFor(t: Test, program: string, startTimeoutMs = 8_000) {
  const folder = t.testdir({ 'vm.mjs': program })
  const { log, lines } = listLog()
  const images = new Map([
    ['test', join(folder, 'vm.mjs')],
    ['absent', join(folder, 'absent.mjs')],
  ])
  const vmm = createProcessVmm({ log }, { folder: join(folder, 'vms'), images, startTimeoutMs })
  const outputs = (stream: string) => lines.filter((line) => line.stream === stream).map((line) => line.line)
  return {
    folder,
    lines,
    outputs,
    vmm,
    start: (name = 'one', createdAt = CREATED_AT) =>
      vmm.start({ name, createdAt, pool: 'default', image: 'test' }),
  }
}

t.test('runs the hello VM and gives the address of its port', async (t) => {
  const { log } = listLog()
  const images = new Map([['hello', HELLO_PROGRAM]])
  const vmm = createProcessVmm({ log }, { folder: t.testdir(), images })
  t.same(await vmm.listImages(), ['hello'])
  const vm = await vmm.start({ name: 'hello', createdAt: CREATED_AT, pool: 'default', image: 'hello' })
  t.teardown(() => vm.stop(0))
  t.equal(vm.name, 'hello')
  t.match(vm.facts.ports, { 8000: { host: '127.0.0.1', port: Number } })
  const { status, text } = await ask(vm.facts.ports['8000']?.port ?? 0, '/?a=1')
  t.equal(status, 200)
  t.match(JSON.parse(text), { method: 'GET', target: '/?a=1' })
  t.match(await vm.stop(5_000), { code: 0 }, 'ends by itself when asked to')
})

t.test("shows a VM nothing of the parent's environment and gives it its own folder", async (t) => {
  process.env.LANDFALL_TEST_SECRET = 'hush'
  t.teardown(() => delete process.env.LANDFALL_TEST_SECRET)
  const { folder, outputs, start } = vmmFor(
    t,
    `console.log(JSON.stringify([Object.keys(process.env), process.cwd()]))\n${REPORT}`,
  )
  const vm = await start()
  await vm.stop(0)
  const [names, cwd] = JSON.parse(String(outputs('stdout')[0]))
  t.same(names.filter((name: string) => !OF_NODE_AND_TAP.test(name)).toSorted(), ['PATH'])
  t.equal(cwd, await realpath(join(folder, 'vms', FOLDER_OF_ONE)))
  t.equal(((await stat(cwd)).mode & 0o777).toString(8), '700')
})

t.test('writes what a VM prints to the log, line by line and bounded', async (t) => {
  const program = `console.log('first\\nsecond'); console.error('e'.repeat(100000)); ${REPORT}`
  const { outputs, lines, start } = vmmFor(t, program)
  await (await start()).stop(5_000)
  t.same(outputs('stdout'), ['first', 'second'])
  t.equal(String(outputs('stderr')[0]).length, 4_096)
  t.match(lines[0], { vm: 'one', level: 'info' })
})

t.test('says why a VM ended before it had a port', async (t) => {
  const { start } = vmmFor(
    t,
    `console.error('no disk'); console.error('giving up'); process.exitCode = 3; process.disconnect()`,
  )
  const error = await t.rejects(start(), { code: 'vm_start_failed' })
  t.match(error, { message: /VM one ended with code 3[\s\S]*no disk\n {2}giving up/ })
})

t.test('keeps only the last lines of the error output', async (t) => {
  const { start } = vmmFor(
    t,
    `for (let i = 1; i <= 50; i += 1) console.error('line ' + i); process.disconnect()`,
  )
  const error = await t.rejects(start(), { code: 'vm_start_failed' })
  t.match(error, { message: /port\n {2}line 31\n[\s\S]*line 50$/ })
})

t.test('says that a program does not exist', async (t) => {
  const { vmm } = vmmFor(t, '')
  const error = await t.rejects(
    vmm.start({ name: 'one', createdAt: CREATED_AT, pool: 'default', image: 'absent' }),
    { code: 'vm_start_failed' },
  )
  t.match(error, { message: /MODULE_NOT_FOUND|Cannot find module/ })
})

t.test('names the images that it has when it is asked for another', async (t) => {
  const { vmm } = vmmFor(t, REPORT)
  const message = 'There is no image "__proto__" here, only: test, absent'
  const spec = { name: 'one', createdAt: CREATED_AT, pool: 'default', image: '__proto__' }
  await t.rejects(vmm.start(spec), { code: 'vm_image_unknown', message })
})

t.test('ends a VM that reports no port in time', async (t) => {
  const program = `console.error(process.pid); process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)`
  const { outputs, start } = vmmFor(t, program, 700)
  await t.rejects(start(), { code: 'vm_start_timeout' })
  const pid = Number(outputs('stderr')[0])
  t.ok(pid > 1)
  t.equal(isAlive(pid), false)
})

t.test('ends a start that is aborted', async (t) => {
  const { outputs, vmm } = vmmFor(t, `console.log(process.pid); setInterval(() => {}, 1000)`)
  const abort = new AbortController()
  const starting = vmm.start(
    { name: 'one', createdAt: CREATED_AT, pool: 'default', image: 'test' },
    abort.signal,
  )
  const refused = t.rejects(starting, { code: 'vm_start_failed' })
  await until(() => outputs('stdout').length === 1, 'the program runs')
  abort.abort()
  await refused
  t.equal(isAlive(Number(outputs('stdout')[0])), false)
})

t.test('ignores reports that make no sense', async (t) => {
  const reports = [
    '1',
    'null',
    '[8000]',
    '{}',
    '{ ports: null }',
    '{ ports: {} }',
    '{ ports: { 0: 1 } }',
    '{ ports: { 8000: 70000 } }',
    '{ ports: { 8000: -1 } }',
    '{ ports: { "-8000": 1 } }',
    '{ ports: { 8000: 1.5 } }',
    '{ ports: { 8e3: 1, "8e3": 1 } }',
    `{ ports: { '08': 1 } }`,
    `{ ports: { 8000: '9' } }`,
    `{ ports: { 8000: 9, more: 9 } }`,
    `{ ports: { ['__proto__']: 9 } }`,
  ]
  const program = `for (const report of [${reports.join(', ')}]) process.send(report)\n${REPORT}`
  const { lines, start } = vmmFor(t, program)
  const vm = await start()
  t.teardown(() => vm.stop(0))
  t.same(vm.facts.ports, { 8000: { host: '127.0.0.1', port: 40_000 } })
  t.equal(lines.filter(({ message }) => message.includes('no port report')).length, reports.length)
})

t.test('takes up to 1,000 ports and no more, however many a VM reports', async (t) => {
  const program = `
    const portsOf = (count) => Object.fromEntries(Array.from({ length: count }, (_, i) => [i + 1, 65535 - i % 60000]))
    const huge = Object.fromEntries(Array.from({ length: 100000 }, (_, i) => [i + 1, 1]))
    for (const ports of [huge, portsOf(1001), portsOf(1000)]) process.send({ ports })
    process.on('disconnect', () => process.exit(0))`
  const { lines, start } = vmmFor(t, program)
  const vm = await start()
  t.teardown(() => vm.stop(0))
  t.equal(Object.keys(vm.facts.ports).length, 1_000)
  t.equal(lines.filter(({ message }) => message.includes('no port report')).length, 2)
})

t.test('keeps the first report, whatever comes after it', async (t) => {
  const program = `${REPORT}\nprocess.send({ ports: { 9000: 50000 } })\nconsole.log('sent')`
  const { outputs, start } = vmmFor(t, program)
  const vm = await start()
  t.teardown(() => vm.stop(0))
  await until(() => outputs('stdout').length === 1, 'it was sent')
  t.same(Object.keys(vm.facts.ports), ['8000'])
})

t.test('bears a message without end, and a flood of lines', async (t) => {
  const program = `
    import { writeSync } from 'node:fs'
    process.on('disconnect', () => process.exit(0))
    const block = 'x'.repeat(65536)
    const write = (fd, text) => { try { writeSync(fd, text) } catch (error) { if (error.code !== 'EAGAIN') throw error } }
    process.send({ ports: { 8000: 40000 } }, () => {
      setInterval(() => { for (let i = 0; i < 16; i += 1) { write(3, block); write(1, 'y\\n'.repeat(8192)) } }, 1)
    })`
  const { lines, start } = vmmFor(t, program)
  const vm = await start()
  const before = process.memoryUsage().rss
  const startedAt = performance.now()
  // Work between two turns, and not how long others had the processor.
  let worstMs = 0
  while (performance.now() - startedAt < 1_500) {
    const last = process.threadCpuUsage()
    await new Promise((resolve) => setTimeout(resolve, 5))
    worstMs = Math.max(worstMs, process.threadCpuUsage(last).user / 1_000)
  }
  t.ok(process.memoryUsage().rss - before < 128 * 1_048_576, 'memory stays bounded')
  t.ok(lines.length < 100_000, `${lines.length} lines reached the log`)
  t.ok(worstMs < 1_000, `${worstMs} ms of work at most between two turns`)
  t.match(await vm.stop(0), { signal: String })
})

t.test("shows a later VM nothing of a former one's files, and deletes them when it is told to", async (t) => {
  const program = `
    import { readdirSync, writeFileSync } from 'node:fs'
    console.log(readdirSync('.').join())
    writeFileSync('secret', '1')
    ${REPORT}`
  const { folder, outputs, vmm, start } = vmmFor(t, program)
  const later = '2026-02-01T12:00:00Z'
  await (await start()).stop(0)
  await (await start()).stop(0)
  await (await start('one', later)).stop(0)
  t.same(outputs('stdout'), ['secret'], 'its own after a restart, and no other')
  await vmm.remove({ name: 'one', createdAt: CREATED_AT })
  t.same(await readdir(join(folder, 'vms')), ['one-20260201T120000Z'])
  await vmm.remove({ name: 'absent', createdAt: later })
  for (const name of ['..', 'a/b', '']) {
    await t.rejects(vmm.remove({ name, createdAt: later }), { code: 'vm_name' })
  }
})

t.test('ends a VM that does not want to, and all that it started', async (t) => {
  const program = `
    import { spawn } from 'node:child_process'
    process.on('SIGTERM', () => console.log('not me'))
    const child = spawn(process.execPath, ['-e', 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)'])
    console.log(child.pid)
    ${REPORT}`
  const { outputs, start } = vmmFor(t, program)
  const vm = await start()
  await until(() => outputs('stdout').length > 0, 'the child is known')
  const grandchild = Number(outputs('stdout')[0])
  t.equal(isAlive(grandchild), true)
  t.match(await vm.stop(300), { signal: 'SIGKILL' })
  t.match(outputs('stdout'), [String, 'not me'], 'was asked first')
  await until(() => !isAlive(grandchild), 'the grandchild is gone')
  t.match(await vm.stop(0), { signal: 'SIGKILL' }, 'a second stop is harmless')
})

t.test('ends what a VM started when the VM has ended by itself', async (t) => {
  const program = `
    import { spawn } from 'node:child_process'
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' })
    console.log(child.pid)
    ${REPORT}
    setTimeout(() => process.exit(0), 100)`
  const { outputs, start } = vmmFor(t, program)
  const vm = await start()
  await vm.exited
  await until(() => !isAlive(Number(outputs('stdout')[0])), 'the grandchild is gone')
  t.pass()
})

t.test('tells when a VM ends by itself', async (t) => {
  const { start } = vmmFor(t, `${REPORT}\nsetTimeout(() => { console.error('bye'); process.exit(7) }, 50)`)
  const vm = await start()
  t.same(await vm.exited, { code: 7, lastLines: ['bye'] })
})

t.test('leaves no VM behind when the parent is killed', async (t) => {
  const folder = t.testdir()
  const parentProgram = `
    const { createProcessVmm } = await import(${JSON.stringify(VMM_MODULE)})
    const write = ({ line }) => process.stdout.write((line ?? '') + '\\n')
    const log = { debug: write, info: write, warn: write, error: write }
    const vmm = createProcessVmm({ log }, {
      folder: ${JSON.stringify(folder)},
      images: new Map([['hello', ${JSON.stringify(HELLO_PROGRAM)}]]),
    })
    await vmm.start({ name: 'hello', createdAt: '${CREATED_AT}', pool: 'default', image: 'hello' })
    process.stdout.write('started\\n')`
  const parent = spawn(process.execPath, ['--input-type=module', '-e', parentProgram], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  parent.stdout.on('data', (chunk) => {
    output += chunk
  })
  await until(() => /process[\s\S]*started|started[\s\S]*process \d+ .*\n/.test(output), 'the VM has started')
  const pid = Number(/process (\d+) listens on/.exec(output)?.[1])
  if (!pid) throw new Error(output)
  t.equal(isAlive(pid), true)
  parent.kill('SIGKILL')
  await once(parent, 'exit')
  await until(() => !isAlive(pid), 'the VM is gone')
})
