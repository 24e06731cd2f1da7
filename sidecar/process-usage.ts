/** What processes use, as Linux tells it below /proc (proc_pid_stat(5)). */

import { readdir, readFile } from 'node:fs/promises'

export interface ProcessUsage {
  /** Of the living processes and of the children that they have waited for. */
  readonly cpuSeconds: number
  /** Resident; pages that two processes share count twice. */
  readonly memoryBytes: number
}

interface Stat {
  readonly pid: number
  readonly parent: number
  readonly group: number
  readonly session: number
  readonly cpuSeconds: number
}

/** USER_HZ, which is 100 on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100
const BYTES_PER_KIB = 1_024
const READS_AT_ONCE = 32
const NOTHING: ProcessUsage = { cpuSeconds: 0, memoryBytes: 0 }

/**
 * By leader: the sums over all that belongs to its process group, its session, or descends from either. What ends
 * meanwhile is left out; a process whose parent does not wait for it is forgotten when it ends.
 * @throws Error with ENOENT where there is no /proc
 */
export async function sampleProcesses(
  leaders: readonly number[],
): Promise<ReadonlyMap<number, ProcessUsage>> {
  if (leaders.length === 0) return new Map()
  const pids = (await readdir('/proc')).map(Number).filter(Number.isInteger)
  const stats = await readEach(pids, readStat)
  const owned = findOwned(stats, new Set(leaders))
  const usages = await readEach(owned, async ({ leader, stat: { pid, cpuSeconds } }) => ({
    leader,
    cpuSeconds,
    memoryBytes: await readMemory(pid),
  }))
  const sums = new Map(leaders.map((leader) => [leader, NOTHING]))
  for (const { leader, ...usage } of usages) sums.set(leader, add(sums.get(leader) ?? NOTHING, usage))
  return sums
}

function add(one: ProcessUsage, other: ProcessUsage): ProcessUsage {
  return {
    cpuSeconds: one.cpuSeconds + other.cpuSeconds,
    memoryBytes: one.memoryBytes + other.memoryBytes,
  }
}

function findOwned(stats: readonly Stat[], leaders: ReadonlySet<number>) {
  const byPid = new Map(stats.map((stat) => [stat.pid, stat]))
  const known = new Map<number, number | undefined>()
  const leaderOf = (stat: Stat): number | undefined => {
    if (known.has(stat.pid)) return known.get(stat.pid)
    // Ends a circle, which readings of different moments might make.
    known.set(stat.pid, undefined)
    const parent = byPid.get(stat.parent)
    const own = [stat.group, stat.session].find((id) => leaders.has(id))
    const leader = own ?? (parent && leaderOf(parent))
    known.set(stat.pid, leader)
    return leader
  }
  return stats.flatMap((stat) => {
    const leader = leaderOf(stat)
    return leader === undefined ? [] : [{ leader, stat }]
  })
}

async function readStat(pid: number): Promise<Stat> {
  const text = await readFile(`/proc/${pid}/stat`, 'latin1')
  // The second field is the program's name in brackets, and a program may choose brackets and spaces for it.
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
  const [, parent = 0, group = 0, session = 0] = fields
  // utime, stime, cutime, cstime: the fields 14 to 17 of the line, whose third is the first here.
  const ticks = fields.slice(11, 15).reduce((sum, value) => sum + value, 0)
  return { pid, parent, group, session, cpuSeconds: ticks / TICKS_PER_SECOND }
}

async function readMemory(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'latin1')
  // A process that has ended and is not waited for yet has none.
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * BYTES_PER_KIB
}

/** In order, some at once; what cannot be read, because it has ended, is left out. */
async function readEach<Item, Result>(
  items: readonly Item[],
  read: (item: Item) => Promise<Result>,
): Promise<readonly Result[]> {
  const results: Result[] = []
  for (let index = 0; index < items.length; index += READS_AT_ONCE) {
    const settled = await Promise.allSettled(items.slice(index, index + READS_AT_ONCE).map(read))
    for (const one of settled) if (one.status === 'fulfilled') results.push(one.value)
  }
  return results
}
