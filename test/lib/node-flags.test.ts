/** Node flags that a program takes by itself: in the same process, once, and behind them those that it was given. */

import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { folderFor } from '../helpers/folder.ts'

const FLAG = '--stack-trace-limit=7'
const LIBRARY = new URL('../../lib/node-flags.ts', import.meta.url)

interface Told {
  readonly pid: number
  readonly limit: number
  readonly flags: readonly string[]
  readonly args: readonly string[]
  readonly setting: string
}

/** A program that takes the flag and tells what has become of it. */
function programFor(t: Test): string {
  const file = join(folderFor(t), 'program.ts')
  const told =
    '{ pid: process.pid, limit: Error.stackTraceLimit, flags: process.execArgv, args: process.argv.slice(2), setting: process.env.SETTING }'
  const lines = [
    `import { takeNodeFlags } from ${JSON.stringify(LIBRARY.href)}`,
    `takeNodeFlags([${JSON.stringify(FLAG)}], process.env)`,
    `const told = JSON.stringify(${told})`,
    'if (process.send) process.send(told, () => process.disconnect())',
    'else console.log(told)',
  ]
  writeFileSync(file, lines.join('\n'))
  return file
}

async function run(
  args: readonly string[],
  options = '',
): Promise<Told & { readonly childPid: number | undefined }> {
  const env = { ...process.env, SETTING: 'kept', NODE_OPTIONS: options }
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
  return { ...JSON.parse(await text(child.stdout)), childPid: child.pid }
}

t.test('a program goes on in its process, with the flag, its arguments and its environment', async (t) => {
  const { childPid, ...told } = await run([programFor(t), 'one', '--two'])
  t.same(told, { pid: childPid, limit: 7, flags: [FLAG], args: ['one', '--two'], setting: 'kept' })
})

t.test('who has given the flag is not started anew', async (t) => {
  const told = await run([FLAG, programFor(t)])
  t.match(told, { limit: 7, flags: [FLAG] })
})

t.test('what was given on the command line counts instead', async (t) => {
  const told = await run(['--stack-trace-limit=3', programFor(t)])
  t.match(told, { limit: 3, flags: [FLAG, '--stack-trace-limit=3'] })
})

t.test('a process with an IPC channel keeps it, and goes without', async (t) => {
  const child = fork(programFor(t), { execArgv: [], env: { ...process.env, NODE_OPTIONS: '' } })
  const [told] = await once(child, 'message')
  t.match(JSON.parse(String(told)), { pid: child.pid, flags: [] })
  await once(child, 'close')
})

t.test('what NODE_OPTIONS sets is left alone', async (t) => {
  const told = await run([programFor(t)], '--stack-trace-limit=3')
  t.match(told, { limit: 3, flags: [] })
})
