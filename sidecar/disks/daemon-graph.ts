/** The block graph of a process that serves a disk: which files it opens, with which drivers, named one by one. */

import type { QmpData } from '../qmp/qmp-client.ts'

/** The names of nodes and objects. */
export const TOP = 'top'
export const TEMPLATE = 'template'
export const LIMIT = 'limit'
/**
 * In the folder where the process is started, which is ours: where it makes its sockets, each to be shown to others by
 * itself. A VMM sees the first alone.
 */
export const EXPORT_FOLDER = 'export'
export const CONTROL_FOLDER = 'control'
export const DISK_SOCKET = `${EXPORT_FOLDER}/disk.sock`
export const QMP_SOCKET = `${CONTROL_FOLDER}/qmp.sock`

export interface LayerNode {
  readonly layer: string
  readonly file: string
}

export interface Graph {
  readonly templateFile: string
  /** Oldest first; the last one is written. */
  readonly layers: readonly LayerNode[]
  /** Without the host's cache. Not every file system can. */
  readonly isDirect: boolean
  /** For a process that serves. */
  readonly moreArguments: readonly string[]
}

export function nodeOf(layer: string): string {
  return `l-${layer}`
}

export function fileNodeOf(layer: string): string {
  return `f-${layer}`
}

/**
 * Everything below the head may be shared with other disks, so it is read through the host's cache. The head is not:
 * the guest has a cache of its own, and only I/O past the host's is counted for the pool by cgroup v1. Threads do the
 * I/O: io_uring, 10 % faster, is often forbidden, and `aio=native` runs out of contexts at 64 disks.
 */
function fileNode(file: string, access: { readonly isHead: boolean; readonly isDirect: boolean }): QmpData {
  const { isHead, isDirect } = access
  return {
    driver: 'file',
    filename: file,
    'read-only': !isHead,
    'auto-read-only': false,
    discard: 'unmap',
    aio: 'threads',
    cache: { direct: isHead && isDirect, 'no-flush': false },
  }
}

function templateNode({ templateFile, isDirect }: Graph): QmpData {
  const file = fileNode(templateFile, { isHead: false, isDirect })
  return { driver: 'raw', 'node-name': TEMPLATE, 'read-only': true, 'auto-read-only': false, file }
}

function frozenNode({ layer, file }: LayerNode, below: string): QmpData {
  return {
    driver: 'qcow2',
    'node-name': nodeOf(layer),
    'read-only': true,
    'auto-read-only': false,
    backing: below,
    file: fileNode(file, { isHead: false, isDirect: false }),
  }
}

/** A head whose `below` is null is put over another by a snapshot. */
export function headNode({ layer, file }: LayerNode, below: string | null, isDirect: boolean): QmpData {
  return {
    driver: 'qcow2',
    'node-name': nodeOf(layer),
    'read-only': false,
    'auto-read-only': false,
    discard: 'unmap',
    backing: below,
    file: { ...fileNode(file, { isHead: true, isDirect }), 'node-name': fileNodeOf(layer) },
  }
}

/** What makes a former head read-only: its file and itself. */
export function toFrozen(head: LayerNode, below: string, isDirect: boolean): readonly QmpData[] {
  const file = { ...fileNode(head.file, { isHead: true, isDirect }), 'node-name': fileNodeOf(head.layer) }
  const node = { ...headNode(head, below, isDirect), file: fileNodeOf(head.layer) }
  return [file, node].map((options) => ({ ...options, 'read-only': true }))
}

/** The monitor comes last: whoever is greeted knows that all the rest is there. */
export function toArguments(graph: Graph, purpose: 'serve' | 'shorten', token: string): readonly string[] {
  const monitor = `qmp-${token}`
  return [
    ...['--object', `throttle-group,id=${LIMIT}`],
    ...toNodes(graph).flatMap((node) => ['--blockdev', JSON.stringify(node)]),
    ...(purpose === 'serve' ? ['--export', toExport(), ...graph.moreArguments] : []),
    ...['--chardev', `socket,id=${monitor},path=${QMP_SOCKET},server=on,wait=off`],
    ...['--monitor', `chardev=${monitor}`],
  ]
}

function toNodes(graph: Graph): readonly QmpData[] {
  const { layers, isDirect } = graph
  const below = (index: number) => {
    const lower = layers[index - 1]
    return lower ? nodeOf(lower.layer) : TEMPLATE
  }
  const chain = layers.map((node, index) =>
    index === layers.length - 1 ? headNode(node, below(index), isDirect) : frozenNode(node, below(index)),
  )
  const head = nodeOf(layers.at(-1)?.layer ?? '')
  // Without `unmap` a filter keeps discards to itself.
  const limit = { driver: 'throttle', 'throttle-group': LIMIT, discard: 'unmap' }
  const top = { ...limit, 'node-name': TOP, file: head }
  return [templateNode(graph), ...chain, top]
}

function toExport(): string {
  return `vhost-user-blk,id=disk,node-name=${TOP},addr.type=unix,addr.path=${DISK_SOCKET},writable=on`
}
