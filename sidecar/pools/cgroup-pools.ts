/** Pools and their VMs as cgroups, in whatever hierarchies the machine has. */

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf, unless } from '../../lib/node-error.ts'
import { SidecarError } from '../errors.ts'
import { keyOfVm, type VmId } from '../vm-id.ts'
import type { Dialect, GroupFile } from './cgroup-dialect.ts'
import { type CgroupFiles, findField } from './cgroup-files.ts'
import { removeGroup } from './cgroup-removal.ts'
import type { GroupUsage, PoolGroups, PoolLimits, PoolPressure, VmGroup, VmShare } from './pool-groups.ts'

export interface OwnedPoolGroups extends PoolGroups, AsyncDisposable {
  /** Ends and removes what `listVms` found. @throws SidecarError pool_group_failed */
  removeVm(pool: string, key: string): Promise<void>
}

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
const KEY = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?-[0-9TZ]{1,40}$/
/** The kernel's own files have no such name; without it a pool called "tasks" would be a file of v1. */
const SUFFIX = '.pool'
const PROCS = 'cgroup.procs'
const LEAVES = ['vmm', 'disk'] as const
const MICROS_PER_SECOND = 1_000_000
const FREEZE_MS = 1_000
const POLL_MS = 5
/** A group, or a file of it, that is not there (any more). */
const GONE = ['ENOENT', 'ENODEV']

export class CgroupPools implements OwnedPoolGroups {
  readonly kind: 'v2' | 'hybrid'
  readonly #dialect: Dialect
  readonly #files: CgroupFiles
  readonly #limits = new Map<string, PoolLimits>()

  constructor(dialect: Dialect, files: CgroupFiles) {
    this.kind = dialect.kind
    this.#dialect = dialect
    this.#files = files
  }

  /** Makes what all pools are in. @throws SidecarError pool_group_failed */
  async prepare(): Promise<void> {
    await this.#makeInner('')
    await this.#makeInner('pools')
  }

  /** A pool that uses more memory than it may is not killed: this fails, and holds it to its other limits. */
  async setPool(pool: string, limits: PoolLimits): Promise<void> {
    const path = toPath(pool)
    await this.#makeInner(path)
    this.#limits.set(pool, limits)
    await this.#writeAll(path, this.#dialect.toPoolFiles(limits))
    const used = await this.#readNeededBytes(path)
    if (used !== undefined && used > limits.memoryBytes) {
      const detail = `Pool ${pool} uses ${used} bytes of memory, which is more than its new limit.`
      throw new SidecarError('pool_group_failed', { detail })
    }
    await this.#writeAll(path, [this.#dialect.toMemoryLimit(limits.memoryBytes)])
  }

  async removePool(pool: string): Promise<void> {
    const path = toPath(pool)
    this.#limits.delete(pool)
    await this.#inTrees(this.#allTrees, (tree) => this.#files.remove(join(tree, path)))
  }

  async openVm(pool: string, vm: VmId, share: VmShare): Promise<VmGroup> {
    const key = keyOfVm(vm)
    const path = join(toPath(pool), key)
    const [unified, ...others] = this.#dialect.trees
    // The pool's group is not made here: it would have no limits.
    await this.#inTrees(this.#dialect.trees, (tree) => this.#files.make(join(tree, path)))
    await this.#wrapped(path, async () => {
      for (const leaf of LEAVES) await this.#files.make(join(unified, path, leaf))
    })
    const setShare = (share: VmShare) => this.#writeAll(path, this.#dialect.toVmFiles(share))
    await setShare(share)
    // The v2 tree comes first, so that whatever has entered any of them can be found and ended.
    const procs = (leaf: string) => [
      join(unified, path, leaf, PROCS),
      ...others.map((tree) => join(tree, path, PROCS)),
      ...this.#dialect.flatTrees.map((tree) => join(tree, toPath(pool), PROCS)),
    ]
    return {
      vmm: procs('vmm'),
      disk: procs('disk'),
      setShare,
      sampleUsage: () => this.#sampleUsage(path),
      freeze: (isFrozen) => this.#freeze(path, isFrozen),
      remove: () => this.removeVm(pool, key),
    }
  }

  async removeVm(pool: string, key: string): Promise<void> {
    if (!KEY.test(key)) throw new SidecarError('pool_group_failed', { detail: 'This is no key of a VM.' })
    const path = join(toPath(pool), key)
    await this.#wrapped(path, () =>
      removeGroup(this.#files, { trees: this.#dialect.trees, path, leaves: LEAVES }),
    )
  }

  /** Pools without VMs too. */
  async listVms(): Promise<ReadonlyMap<string, readonly string[]>> {
    const found = new Map<string, Set<string>>()
    // What we were killed in the middle of making or removing may be in some of the trees only.
    for (const tree of this.#allTrees) {
      for (const name of await this.#files.list(join(tree, 'pools'))) {
        const pool = name.endsWith(SUFFIX) ? name.slice(0, -SUFFIX.length) : ''
        if (!LABEL.test(pool)) continue
        const keys = await this.#files.list(join(tree, 'pools', name))
        found.set(pool, (found.get(pool) ?? new Set()).union(new Set(keys.filter((key) => KEY.test(key)))))
      }
    }
    return new Map([...found].map(([pool, keys]) => [pool, [...keys].toSorted()]))
  }

  samplePool(pool: string): Promise<GroupUsage | undefined> {
    return this.#sampleUsage(toPath(pool))
  }

  async samplePressure(pool: string): Promise<PoolPressure | undefined> {
    const path = toPath(pool)
    const memoryBytes = await this.#readNeededBytes(path)
    const limitBytes = this.#limits.get(pool)?.memoryBytes ?? (await this.#readLimit(path))
    if (memoryBytes === undefined || limitBytes === undefined) return undefined
    const some = parseAvg10(await this.#find(this.#dialect.trees[0], path, 'memory.pressure'))
    return { memoryBytes, limitBytes, ...(some !== undefined && { memorySome: some }) }
  }

  async reclaim(pool: string, bytes: number): Promise<boolean> {
    const { tree, file, value } = this.#dialect.toReclaim(bytes)
    try {
      await this.#files.write(join(tree, toPath(pool), file), value)
      return true
    } catch (error) {
      // Less than that could be dropped, which is no failure.
      return ['EAGAIN', 'EBUSY', 'EINTR'].includes(codeOf(error) ?? '')
    }
  }

  /** Removes pools that have no VMs; what runs runs on. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const [pool, keys] of await this.listVms()) {
      if (keys.length === 0) await this.removePool(pool).catch(() => undefined)
    }
    for (const path of ['pools', '']) {
      for (const tree of this.#allTrees) await this.#files.remove(join(tree, path)).catch(() => undefined)
    }
  }

  async #makeInner(path: string): Promise<void> {
    await this.#inTrees(this.#allTrees, (tree) => this.#files.make(join(tree, path)))
    await this.#writeAll(path, this.#dialect.inner)
  }

  async #sampleUsage(path: string): Promise<GroupUsage | undefined> {
    const { tree, usageFile } = this.#dialect.memory
    const micros = findField((await this.#find(this.#dialect.trees[0], path, 'cpu.stat')) ?? '', 'usage_usec')
    const memory = await this.#find(tree, path, usageFile)
    if (micros === undefined || memory === undefined) return undefined
    return { cpuSeconds: micros / MICROS_PER_SECOND, memoryBytes: Number(memory) }
  }

  /** Less what may be dropped at no cost: files that were not read again. */
  async #readNeededBytes(path: string): Promise<number | undefined> {
    const { tree, usageFile, cacheField } = this.#dialect.memory
    const usage = await this.#find(tree, path, usageFile)
    if (usage === undefined) return undefined
    const cache = findField((await this.#find(tree, path, 'memory.stat')) ?? '', cacheField) ?? 0
    return Math.max(0, Number(usage) - cache)
  }

  async #readLimit(path: string): Promise<number | undefined> {
    const { tree, limitFile } = this.#dialect.memory
    const limit = Number(await this.#find(tree, path, limitFile))
    return Number.isSafeInteger(limit) ? limit : undefined
  }

  async #freeze(path: string, isFrozen: boolean): Promise<boolean> {
    const [tree] = this.#dialect.trees
    const wanted = isFrozen ? 1 : 0
    try {
      await this.#files.write(join(tree, path, 'cgroup.freeze'), String(wanted))
    } catch (error) {
      if ([...GONE, 'EACCES'].includes(codeOf(error) ?? '')) return false
      throw error
    }
    const deadline = performance.now() + FREEZE_MS
    while (findField((await this.#find(tree, path, 'cgroup.events')) ?? '', 'frozen') !== wanted) {
      if (performance.now() > deadline) return false
      await sleep(POLL_MS)
    }
    return true
  }

  /** Undefined when the group is gone or the kernel has no such file. */
  async #find(tree: string, path: string, file: string): Promise<string | undefined> {
    return this.#files.read(join(tree, path, file)).catch(unless(...GONE, 'EOPNOTSUPP'))
  }

  async #writeAll(path: string, files: readonly GroupFile[]): Promise<void> {
    for (const { tree, file, value, isOptional } of files) {
      const written = this.#wrapped(file, () => this.#files.write(join(tree, path, file), value))
      await (isOptional ? written.catch(() => undefined) : written)
    }
  }

  get #allTrees(): readonly string[] {
    return [...this.#dialect.trees, ...this.#dialect.flatTrees]
  }

  async #inTrees(trees: readonly string[], act: (tree: string) => Promise<void>): Promise<void> {
    for (const tree of trees) await this.#wrapped(tree, () => act(tree))
  }

  async #wrapped<Result>(what: string, act: () => Promise<Result>): Promise<Result> {
    try {
      return await act()
    } catch (cause) {
      if (cause instanceof SidecarError) throw cause
      const detail = `The kernel answered ${codeOf(cause) ?? 'with an error'}.`
      throw new SidecarError('pool_group_failed', { cause, detail, context: { what } })
    }
  }
}

function toPath(pool: string): string {
  if (LABEL.test(pool)) return join('pools', `${pool}${SUFFIX}`)
  throw new SidecarError('pool_group_failed', { detail: 'The pool has no valid name.', context: { pool } })
}

function parseAvg10(text: string | undefined): number | undefined {
  const found = /^some avg10=([\d.]+)/.exec(text ?? '')?.[1]
  return found === undefined ? undefined : Number(found)
}
