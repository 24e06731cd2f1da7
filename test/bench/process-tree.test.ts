/** CPU time is that of the whole tree, and the end of a tree touches no stranger. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import {
  findTree,
  killRemaining,
  type ProcessStat,
  parseStat,
  pickTree,
  readTreeCpuMs,
  readTreeMemoryMb,
} from '../../bench/frame/process-tree.ts'
import { until } from '../helpers/until.ts'

t.test('reads /proc/<pid>/stat of a program with an odd name', (t) => {
  const fields = '7 42 42 0 -1 4194304 1 2 3 4 250 50 20 10 20 0 1 0 123456 1 2'
  t.same(parseStat(`43 (a) S 1 (b)) S ${fields}\n`), {
    pid: 43,
    parentPid: 7,
    cpuMs: 3_300,
    startTicks: 123_456,
  })
  t.end()
})

t.test('picks a process with all its descendants', (t) => {
  const stat = (pid: number, parentPid: number): ProcessStat => ({ pid, parentPid, cpuMs: 0, startTicks: 0 })
  const all = [stat(9, 5), stat(2, 1), stat(5, 2), stat(3, 1), stat(7, 2)]
  t.same(
    pickTree(all, 2).map(({ pid }) => pid),
    [2, 5, 7, 9],
  )
  t.same(pickTree(all, 4), [])
  t.end()
})

/** A shell whose child does `work`; when that has ended, the shell's process sleeps alone. */
function shellFor(t: Test, work: string): number {
  const shell = spawn('/bin/sh', ['-c', `/bin/sh -c '${work}'; exec sleep 60`], { stdio: 'ignore' })
  const { pid } = shell
  if (pid === undefined) throw new Error('no shell')
  t.teardown(async () => {
    killRemaining(findTree(pid))
    if (shell.exitCode === null && shell.signalCode === null) await once(shell, 'exit')
  })
  return pid
}

t.test('counts the CPU time of a child that runs, and of one that has ended', async (t) => {
  const running = shellFor(t, 'while :; do :; done')
  await until(() => readTreeCpuMs(running) >= 50, 'the running child is counted')
  const ended = shellFor(t, 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done')
  // Before its child there is nothing to count, and a look may come too late to see the child at all.
  const isOver = () => findTree(ended).length === 1 && readTreeCpuMs(ended) >= 50
  await until(isOver, 'the child has ended, and what it used is still counted')
  t.pass('it is counted')
})

t.test('counts the memory of all processes of a tree', async (t) => {
  const pid = shellFor(t, 'sleep 60; true')
  await until(() => findTree(pid).length === 3, 'shell, child and sleep run')
  const [shell, child] = [readTreeMemoryMb(pid), readTreeMemoryMb(findTree(pid)[1]?.pid ?? 0)]
  t.ok(child > 0 && shell > child && shell < 50, `${shell} and ${child} MiB`)
  t.equal(readTreeMemoryMb(2 ** 30), 0, 'nothing of a process that there is not')
})

t.test('kills what is left of a tree, but not a process that got the same pid later', async (t) => {
  const pid = shellFor(t, 'sleep 60; true')
  await until(() => findTree(pid).length === 3, 'the child and its child run')
  const tree = findTree(pid)
  killRemaining(tree.map((stat) => ({ ...stat, startTicks: stat.startTicks - 1 })))
  t.equal(findTree(pid).length, 3)
  killRemaining(tree)
  await until(() => findTree(pid).length === 0, 'the tree is gone')
})
