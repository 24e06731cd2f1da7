/** What a sidecar leaves in a VM's folder for the next one, so that it finds the VM that runs. */

import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { replaceFile } from '../../lib/whole-file.ts'
import type { ProcessIdentity } from '../process-identity.ts'
import type { VmId } from '../vm-id.ts'

export interface RunRecord<Machine> {
  readonly vm: VmId
  readonly pool: string
  /** Process ids of another boot of the machine mean nothing. */
  readonly bootId: string
  /** Tells this run from the VM's earlier and later ones. */
  readonly run: string
  /** Milliseconds of the wall clock. */
  readonly startedAt: number
  /** Undefined while the process is being started. */
  readonly vmm?: ProcessIdentity
  /** What the hypervisor's driver needs to go on. */
  readonly machine: Machine
  readonly defaultPort?: number
  /** Ports that listen, as the guest said last. */
  readonly ports: readonly number[]
  /** A digest of the authorized keys that the guest has; empty when that is not certain. */
  readonly keys: string
}

export const BOOT_ID = readBootId()

function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  } catch {
    return 'unknown'
  }
}

export async function writeRunRecord<M>(file: string, record: RunRecord<M>): Promise<void> {
  await replaceFile(file, JSON.stringify(record))
}

/** Undefined when there is none, or one of before the machine's last start. The folder is ours alone: what it holds is what we wrote. */
export async function findRunRecord<M>(file: string): Promise<RunRecord<M> | undefined> {
  try {
    const record: RunRecord<M> = JSON.parse(await readFile(file, 'utf8'))
    return record.bootId === BOOT_ID ? record : undefined
  } catch {
    return undefined
  }
}
