/** What tells one VM from all others that this host has had, and the name of its folders, groups and devices. */

import { SidecarError } from './errors.ts'

export interface VmId {
  /** A DNS label in lower case. */
  readonly name: string
  /** When the VM was made. A later VM of the same name is another VM and finds none of the former's files. */
  readonly createdAt: string
}

const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/

/** Two VMs never have the same: names have no upper case, and the moment ends with a Z. @throws SidecarError vm_name */
export function keyOfVm({ name, createdAt }: VmId): string {
  if (!NAME.test(name)) throw new SidecarError('vm_name', { context: { name } })
  return `${name}-${createdAt.replaceAll(/[^0-9TZ]/g, '')}`
}
