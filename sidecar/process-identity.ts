/** Processes that outlive the one that started them: found again by id and by when they started (proc_pid_stat(5)). */

import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { unless } from '../lib/node-error.ts'

/** An id is given again to another process; an id with a start time is not. */
export interface ProcessIdentity {
  readonly pid: number
  /** Since the machine booted, in ticks of 10 ms. */
  readonly startTicks: number
}

const POLL_MS = 20

/** Undefined when there is no such process, or it has ended and waits for its parent. */
export function findProcess(pid: number): ProcessIdentity | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The second field is the program's name in brackets, and a program may choose brackets and spaces for it.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    // Of its first thread alone: the files of a process, and the locks on them, go with its last one.
    const isOver = fields[0] === 'X' || (fields[0] === 'Z' && Number(fields[17]) <= 1)
    return isOver ? undefined : { pid, startTicks: Number(fields[19]) }
  } catch {
    return undefined
  }
}

export function isAlive({ pid, startTicks }: ProcessIdentity): boolean {
  return findProcess(pid)?.startTicks === startTicks
}

/** Does nothing when it is gone. The moment between look and signal is too short for an id to come round again. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isAlive(identity)) return
  try {
    process.kill(identity.pid, signal)
  } catch (error) {
    unless('ESRCH')(error)
  }
}

/** Settles when the process is gone. Only a parent is told of an end, so others have to look. */
export async function waitForEnd(identity: ProcessIdentity, pollMs = POLL_MS): Promise<void> {
  while (isAlive(identity)) await sleep(pollMs)
}
