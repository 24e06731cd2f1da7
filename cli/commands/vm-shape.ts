/** What of a VM has a size: its options, the body that they make, and the lines that show it. */

import { EGRESS, IDLE, SIZE, VM_CPUS, WEIGHT } from '../kinds.ts'
import { formatDuration } from '../units.ts'
import { type Column, plain, size, textOf } from '../views.ts'

export const SHAPE_OPTIONS = {
  cpus: { kind: VM_CPUS, summary: 'CPUs that it sees, as 2; at most those of its pool' },
  memory: { kind: SIZE, summary: 'Memory, as 512M; at most that of its pool' },
  disk: { kind: SIZE, summary: 'Disk, as 20G; never smaller; a VM that runs sees it after a restart' },
  weight: { kind: WEIGHT, summary: "Its share of the pool's CPU beside the others', 1 to 10000, else 100" },
  egress: { kind: EGRESS, summary: 'open or none: whether it may open connections to the outside' },
  'suspend-after': { kind: IDLE, summary: 'Idle for so long, as 10m, it is suspended; or never' },
} as const

export interface Shape {
  readonly cpus: number | undefined
  readonly memory: number | undefined
  readonly disk: number | undefined
  readonly weight: number | undefined
  readonly egress: string | undefined
  readonly 'suspend-after': number | undefined
}

/** What is not named is left out. */
export function toShape({ cpus, memory, disk, weight, egress, 'suspend-after': idle }: Shape) {
  return {
    ...(cpus !== undefined && { cpus }),
    ...(memory !== undefined && { memoryBytes: memory }),
    ...(disk !== undefined && { diskBytes: disk }),
    ...(weight !== undefined && { weight }),
    ...(egress !== undefined && { egress }),
    ...(idle !== undefined && { suspendAfterSeconds: idle }),
  }
}

export const SHAPE_LINES: readonly Column[] = [
  plain('CPUS'),
  size('MEMORY', 'memoryBytes'),
  size('DISK', 'diskBytes'),
  plain('WEIGHT'),
  plain('EGRESS'),
  {
    title: 'SUSPEND AFTER',
    of: (view) => {
      const seconds = textOf(view, 'suspendAfterSeconds')
      return seconds === '' ? '' : formatDuration(Number(seconds) * 1_000)
    },
  },
  plain('COPY OF', 'source.vm'),
  plain('SNAPSHOT', 'source.snapshot'),
]
