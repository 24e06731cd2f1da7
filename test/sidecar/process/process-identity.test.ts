/** When a process has ended: not while a thread of it runs, which holds its files and their locks. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { code, int32, systemCall, toProgram } from '../../../sidecar/guests/machine-code.ts'
import { findProcess, isAlive, signalProcess, waitForEnd } from '../../../sidecar/process-identity.ts'
import { folderFor } from '../../helpers/folder.ts'
import { until } from '../../helpers/until.ts'

const foreign = process.arch !== 'x64' && 'the program is for x86-64'

/** CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND, CLONE_THREAD of clone(2). */
const THREAD_FLAGS = 0x10f00
const SYS_PAUSE = 34
const SYS_CLONE = 56
const SYS_EXIT = 60

/** A program that starts a thread, whereupon its first one ends and the other waits. */
function toLeaderlessProgram(): Buffer {
  const end = systemCall(SYS_EXIT)
  return toProgram(
    Buffer.concat([
      code(0xbf, int32(THREAD_FLAGS)), // mov edi, flags
      code(0x31, 0xf6), // xor esi, esi: neither uses the stack
      systemCall(SYS_CLONE),
      code(0x85, 0xc0), // test eax, eax
      code(0x74, end.length), // jz behind the end
      end,
      systemCall(SYS_PAUSE),
    ]),
  )
}

t.test(
  'a process whose first thread has ended lives on in the others, and can be ended',
  { skip: foreign },
  async (t) => {
    const file = join(folderFor(t), 'leaderless')
    writeFileSync(file, toLeaderlessProgram(), { mode: 0o755 })
    const child = spawn(file)
    t.teardown(() => child.kill('SIGKILL'))
    const exited = once(child, 'exit')
    const pid = child.pid ?? 0
    await until(() => readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z '), 'its first thread ends')
    const identity = findProcess(pid)
    t.match(identity, { pid })
    if (!identity) return
    t.ok(isAlive(identity))
    signalProcess(identity, 'SIGKILL')
    await waitForEnd(identity)
    t.same(await exited, [null, 'SIGKILL'])
    t.equal(findProcess(pid), undefined)
  },
)

t.test('one that has ended is gone while it waits for its parent', async (t) => {
  // The shell becomes a program that does not ask for its child.
  const parent = spawn('/bin/sh', ['-c', 'sleep 0 & echo $!; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  t.teardown(() => parent.kill('SIGKILL'))
  const [text] = await once(parent.stdout, 'data')
  const stat = () => readFileSync(`/proc/${Number(text)}/stat`, 'latin1')
  await until(() => stat().includes(') Z '), 'it waits')
  t.equal(findProcess(Number(text)), undefined)
})
