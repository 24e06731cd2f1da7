/** A child runs on its core, and it ends with its owner. */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type ChildSettings, startChild } from '../../bench/frame/child.ts'
import { findFreePorts } from '../../bench/frame/free-ports.ts'
import { until } from '../helpers/until.ts'

/** Opens its port and says which processes there are; the second one ignores that the first has ended. */
const SERVER = `
const { spawn } = require('node:child_process')
const worker = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
require('node:net').createServer().listen(Number(process.argv[1]), '127.0.0.1', () => {
  console.log(JSON.stringify([process.pid, worker.pid]))
})
`

async function settingsFor(folder: string, script: string): Promise<ChildSettings> {
  const [port = 0] = await findFreePorts(1)
  return {
    name: 'the server',
    core: 0,
    command: [process.execPath, '-e', script, String(port)],
    cwd: folder,
    outputFile: join(folder, 'output.log'),
    ports: [port],
    signal: new AbortController().signal,
  }
}

/** What the child said in square brackets, once it has. */
async function saidPids({ outputFile }: ChildSettings): Promise<number[]> {
  const read = () => (existsSync(outputFile) ? readFileSync(outputFile, 'utf8') : '')
  await until(() => read().includes(']'), 'the child tells its pids')
  return JSON.parse(/\[.*\]/.exec(read())?.[0] ?? '')
}

function isRunning(pid: number): boolean {
  try {
    // A zombie that nobody has waited for is no running process.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

t.test('runs on its core alone, and ends with all its processes', async (t) => {
  const settings = await settingsFor(t.testdir(), SERVER)
  const child = await startChild(settings)
  t.teardown(() => child[Symbol.asyncDispose]())
  const pids = await saidPids(settings)
  t.equal(pids.length, 2)
  for (const pid of pids)
    t.match(readFileSync(`/proc/${pid}/status`, 'utf8'), /^Cpus_allowed_list:\s+0$/m, 'its core')
  t.ok(child.readCpuMs() > 0)
  await child[Symbol.asyncDispose]()
  await until(() => !pids.some(isRunning), 'no process is left')
})

t.test('tells what a child said that ended at once', async (t) => {
  const settings = await settingsFor(t.testdir(), `console.error('no such setting'); process.exit(3)`)
  await t.rejects(startChild(settings), {
    name: 'BenchError',
    message: /^the server ended at once; it said:\nno such setting$/,
  })
})

t.test('ends a child that was still starting when the run was interrupted', async (t) => {
  const abort = new AbortController()
  const script = 'console.log(JSON.stringify([process.pid])); setInterval(() => {}, 1000)'
  const settings = { ...(await settingsFor(t.testdir(), script)), signal: abort.signal }
  const starting = startChild(settings)
  const [pid = 0] = await saidPids(settings)
  abort.abort()
  await t.rejects(starting, { name: 'AbortError' })
  t.notOk(isRunning(pid))
})
