/** Takes memory from guests that have more than they use, and gives it back. */

import { SidecarError } from '../errors.ts'
import type { VmId } from '../vm-id.ts'
import type { QemuVm } from './qemu-vm.ts'

export interface Balloon {
  /** What the guest may use from now on; it needs a while to give pages up. No more than the VM's memory. @throws SidecarError qmp_failed */
  set(vm: VmId, bytes: number): Promise<void>
  /** What the guest has now, without what its balloon holds, and what it was started with. Undefined when it does not run. */
  find(vm: VmId): Promise<{ readonly bytes: number; readonly maxBytes: number } | undefined>
}

export function createBalloon(findVm: (vm: VmId) => QemuVm | undefined): Balloon {
  return {
    set: async (id, bytes) => {
      const vm = findVm(id)
      if (!vm) return
      const value = Math.min(Math.floor(bytes), vm.parts.record.machine.memoryBytes)
      await vm.parts.qmp.execute('balloon', { value })
    },
    find: async (id) => {
      const vm = findVm(id)
      if (!vm) return undefined
      const answer = await vm.parts.qmp.execute('query-balloon')
      return { bytes: parseActual(answer), maxBytes: vm.parts.record.machine.memoryBytes }
    },
  }
}

function parseActual(answer: unknown): number {
  if (typeof answer === 'object' && answer !== null && 'actual' in answer) return Number(answer.actual)
  throw new SidecarError('qmp_failed', { detail: 'query-balloon: no figure' })
}
