/** A process and its descendants as /proc shows them: their CPU time, and their end. */

import { readdirSync, readFileSync } from 'node:fs'

export interface ProcessStat {
  readonly pid: number
  readonly parentPid: number
  /** User and system time of the process with all its threads, and of children that have ended. */
  readonly cpuMs: number
  /** When it started, in ticks since boot: with the pid it names one process for good. */
  readonly startTicks: number
}

/** USER_HZ, the unit of times in /proc, is 100 on every architecture that Node runs on. */
const TICK_MS = 10

/** The text of /proc/<pid>/stat, proc(5). The program's name may hold spaces and brackets, so fields count from its end. */
export function parseStat(text: string): ProcessStat {
  const nameEnd = text.lastIndexOf(')')
  const fields = text.slice(nameEnd + 2).split(' ')
  const at = (field: number) => Number(fields[field - 3])
  return {
    pid: Number.parseInt(text, 10),
    parentPid: at(4),
    cpuMs: (at(14) + at(15) + at(16) + at(17)) * TICK_MS,
    startTicks: at(22),
  }
}

/** The process and its descendants; empty when there is no such process. */
export function findTree(rootPid: number): ProcessStat[] {
  return pickTree(readAll(), rootPid)
}

export function pickTree(all: readonly ProcessStat[], rootPid: number): ProcessStat[] {
  const tree = all.filter(({ pid }) => pid === rootPid)
  for (const parent of tree) tree.push(...all.filter(({ parentPid }) => parentPid === parent.pid))
  return tree
}

/** In steps of 10 ms. */
export function readTreeCpuMs(rootPid: number): number {
  return findTree(rootPid).reduce((sum, { cpuMs }) => sum + cpuMs, 0)
}

/**
 * What the process and its descendants keep in memory; a page that several of them share is counted once in all
 * (proportional set size, proc(5)).
 */
export function readTreeMemoryMb(rootPid: number): number {
  return findTree(rootPid).reduce((sum, { pid }) => sum + readMemoryKb(pid), 0) / 1_024
}

/** Kills what is still there of a tree seen before; a pid that now names another process is left alone. */
export function killRemaining(tree: readonly ProcessStat[]): void {
  for (const { pid, startTicks } of tree) {
    if (findStat(pid)?.startTicks === startTicks) sendSignal(pid, 'SIGKILL')
  }
}

/** A process that has just ended is no error. */
export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** 0 of one that has just ended. */
function readMemoryKb(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1')
    return Number(/^Pss:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0)
  } catch {
    return 0
  }
}

function readAll(): ProcessStat[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => findStat(Number(name)) ?? [])
}

function findStat(pid: number): ProcessStat | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return undefined
  }
}
