/** Where the files of a VM lie on its host, whatever hypervisor runs it. */

import { chown, mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { keyOfVm, type VmId } from '../vm-id.ts'

export interface VmFolder {
  readonly path: string
  /** Logs and process ids, ours alone: all of it void when the machine has been restarted. */
  readonly run: string
  readonly runFile: string
  readonly consoleLog: string
  readonly vmmLog: string
  /** Of what serves its disk. */
  readonly diskLog: string
  /** The memory of a VM that sleeps. */
  readonly suspended: string
}

/** Apart from the VM's folder, since a socket's path has room for 107 bytes, and a VM's key takes 83. */
export interface SocketFolder {
  readonly path: string
  /** What the VMM makes and writes. */
  readonly io: string
  /** Ours: what serves its disk has folders in it. */
  readonly disk: string
  /** Ours, for the VMM to connect to. */
  readonly net: string
}

/** @throws SidecarError vm_name */
export function folderOf(data: string, vm: VmId): VmFolder {
  const path = join(data, 'vms', keyOfVm(vm))
  const run = join(path, 'run')
  return {
    path,
    run,
    runFile: join(run, 'run.json'),
    consoleLog: join(run, 'console.log'),
    vmmLog: join(run, 'vmm.log'),
    diskLog: join(path, 'disk.log'),
    suspended: join(path, 'suspended'),
  }
}

export function socketsOf(data: string, slot: number): SocketFolder {
  const path = join(data, 'sockets', String(slot))
  return { path, io: join(path, 'io'), disk: join(path, 'disk'), net: join(path, 'net') }
}

/** Empty ones, but for what networking keeps while a VM sleeps. `uid`: who the VMM runs as, when not as we do. */
export async function makeFolders(vm: VmFolder, sockets: SocketFolder, uid?: number): Promise<void> {
  await Promise.all(
    [vm.run, sockets.io, sockets.disk].map((path) => rm(path, { recursive: true, force: true })),
  )
  const ours = [vm.run, sockets.net, sockets.disk]
  await Promise.all(ours.map((path) => mkdir(path, { recursive: true, mode: 0o711 })))
  await mkdir(sockets.io, { recursive: true, mode: 0o700 })
  if (uid !== undefined) await chown(sockets.io, uid, uid)
}
