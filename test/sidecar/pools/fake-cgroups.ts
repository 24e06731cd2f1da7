/** The v2 tree of cgroups in memory, as strict as the kernel about controllers, processes of inner groups and removal. */

import { basename, dirname, join } from 'node:path'
import type { CgroupFiles } from '../../../sidecar/pools/cgroup-files.ts'

interface Group {
  readonly files: Map<string, string>
  readonly pids: Set<string>
  readonly passed: Set<string>
}

export interface FakeCgroups {
  readonly files: CgroupFiles
  /** Each value written, as `folder/file value`, in order. */
  readonly writes: string[]
  /** A process enters a group by this file. */
  readonly enter: (procsFile: string, pid: string) => Promise<void>
  readonly set: (file: string, value: string) => void
  /** Of all groups. */
  readonly paths: () => string[]
  readonly pidsIn: (folder: string) => string[]
}

/** Files that a group has of each controller; absent ones are like on an older kernel. */
const FILES: Readonly<Record<string, readonly string[]>> = {
  cpu: ['cpu.max', 'cpu.max.burst', 'cpu.weight'],
  memory: [
    'memory.max',
    'memory.high',
    'memory.low',
    'memory.oom.group',
    'memory.current',
    'memory.stat',
    'memory.reclaim',
  ],
  pids: ['pids.max'],
  io: ['io.max'],
}
const OWN = ['cgroup.procs', 'cgroup.subtree_control', 'cgroup.controllers', 'cgroup.freeze', 'cgroup.kill']

function fault(code: string): Error {
  return Object.assign(new Error(code), { code })
}

export function createFakeCgroups(mount: string, controllers: string, rootPids: string[] = []): FakeCgroups {
  const groups = new Map<string, Group>()
  const writes: string[] = []
  const add = (folder: string, has: readonly string[]) => {
    const names = [...OWN, 'cgroup.events', 'cpu.stat', ...has.flatMap((one) => FILES[one] ?? [])]
    const group = {
      files: new Map(names.map((name) => [name, ''])),
      pids: new Set<string>(),
      passed: new Set<string>(),
    }
    group.files.set('cgroup.controllers', `${has.join(' ')}\n`)
    group.files.set('cgroup.events', 'populated 0\nfrozen 0\n')
    groups.set(folder, group)
    return group
  }
  const top = add(mount, controllers.split(' '))
  for (const pid of rootPids) top.pids.add(pid)
  const get = (folder: string) => {
    const group = groups.get(folder)
    if (!group) throw fault('ENOENT')
    return group
  }
  const below = (folder: string) => [...groups].filter(([path]) => `${path}/`.startsWith(`${folder}/`))
  const enter = (folder: string, pid: string) => {
    if (folder !== mount && get(folder).passed.size > 0) throw fault('EBUSY')
    for (const group of groups.values()) group.pids.delete(pid)
    get(folder).pids.add(pid)
  }
  const passOn = (folder: string, value: string) => {
    const group = get(folder)
    if (folder !== mount && group.pids.size > 0) throw fault('EBUSY')
    for (const one of value.split(' ').map((word) => word.slice(1))) {
      if (!group.files.get('cgroup.controllers')?.split(/\s/).includes(one)) throw fault('ENOENT')
      group.passed.add(one)
    }
    for (const [path, child] of groups) {
      if (dirname(path) !== folder || path === folder) continue
      child.files.set('cgroup.controllers', `${[...group.passed].join(' ')}\n`)
      for (const name of [...group.passed].flatMap((one) => FILES[one] ?? [])) {
        if (!child.files.has(name)) child.files.set(name, '')
      }
    }
  }
  const act: Readonly<Record<string, (folder: string, value: string) => void>> = {
    'cgroup.procs': enter,
    'cgroup.subtree_control': passOn,
    'cgroup.kill': (folder) => {
      for (const [, group] of below(folder)) group.pids.clear()
    },
    'cgroup.freeze': (folder, value) => {
      get(folder).files.set('cgroup.events', `populated 1\nfrozen ${value}\n`)
    },
  }
  const files: CgroupFiles = {
    read: async (file) => {
      const group = get(dirname(file))
      if (basename(file) === 'cgroup.procs') return [...group.pids].map((pid) => `${pid}\n`).join('')
      const text = group.files.get(basename(file))
      if (text === undefined) throw fault('ENOENT')
      return text
    },
    write: async (file, value) => {
      const [folder, name] = [dirname(file), basename(file)]
      if (!get(folder).files.has(name)) throw fault('ENOENT')
      act[name]?.(folder, value)
      writes.push(`${file.slice(mount.length + 1)} ${value}`)
      get(folder).files.set(name, name === 'cgroup.controllers' ? '' : value)
    },
    make: async (folder) => {
      if (groups.has(folder)) return
      add(folder, [...get(dirname(folder)).passed])
    },
    remove: async (folder) => {
      const group = groups.get(folder)
      if (!group) return
      if (group.pids.size > 0 || below(folder).length > 1) throw fault('EBUSY')
      groups.delete(folder)
    },
    list: async (folder) =>
      [...groups.keys()]
        .filter((path) => path !== folder && dirname(path) === folder)
        .map((path) => basename(path)),
  }
  return {
    files,
    writes,
    enter: async (file, pid) => enter(dirname(file), pid),
    set: (file, value) => {
      get(dirname(join(mount, file))).files.set(basename(file), value)
    },
    paths: () =>
      [...groups.keys()].filter((path) => path !== mount).map((path) => path.slice(mount.length + 1)),
    pidsIn: (folder) => [...get(join(mount, folder)).pids],
  }
}
