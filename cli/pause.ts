/** Waiting that Ctrl-C ends. */

import { setTimeout as sleep } from 'node:timers/promises'
import { Interrupted } from './errors.ts'

/** @throws Interrupted */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await sleep(milliseconds, undefined, { signal }).catch(() => {
    throw new Interrupted()
  })
}
