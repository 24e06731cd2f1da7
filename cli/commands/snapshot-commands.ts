/** `landfall snapshot`: disks as they were. */

import { printDeleted, printListing, printWritten } from '../answers.ts'
import { path } from '../api.ts'
import { type Command, command } from '../command.ts'
import { NEW_NAME, SNAPSHOT, TEXT } from '../kinds.ts'
import { age, plain, size, textOf } from '../views.ts'
import { newVm } from './new-vm.ts'
import { DEFAULT_WAIT_MS, VM_ARGUMENT, WAIT_OPTION } from './vm-commands.ts'
import { stateOf, waitingFor } from './vm-puts.ts'

const SNAPSHOT_ARGUMENT = { kind: SNAPSHOT, summary: 'The id that "snapshot list" shows' } as const

export const SNAPSHOT_COMMANDS: readonly Command[] = [
  command('snapshot make', {
    summary: "Keeps a VM's disk as it is now, and prints the id of the snapshot",
    details: 'The VM runs on; what it has not written to its disk yet is not in the snapshot.',
    arguments: { vm: VM_ARGUMENT },
    options: { label: { kind: TEXT, summary: 'Up to 200 characters' }, timeout: WAIT_OPTION },
    examples: ['id=$(landfall snapshot make web --label before)'],
    run: async (context, { args: { vm }, options: { label, timeout = DEFAULT_WAIT_MS } }) => {
      const body = { ...(label !== undefined && { label }) }
      const address = path`/v1/vms/${vm}/snapshots`
      const view = await context.api.call({ method: 'POST', path: address, body, ...waitingFor(timeout) })
      const id = textOf(view, 'id')
      return printWritten(context, { view, name: id, said: `snapshot ${id} of ${vm} is ready` })
    },
  }),
  command('snapshot list', {
    summary: "Lists a VM's snapshots; those that are kept are what a restore put aside",
    arguments: { vm: VM_ARGUMENT },
    run: (context, { args: { vm } }) =>
      printListing(context, {
        path: path`/v1/vms/${vm}/snapshots`,
        plural: 'snapshots',
        columns: [
          plain('ID'),
          plain('STATE'),
          plain('KIND'),
          size('SIZE', 'bytes'),
          age('AGE', 'takenAt', context.now()),
          plain('LABEL'),
          plain('MESSAGE'),
        ],
        none: `There are none. "landfall snapshot make ${vm}" makes one.`,
      }),
  }),
  command('snapshot restore', {
    summary: "Makes a VM's disk what it was, keeps the present as a snapshot, and waits until the VM is up",
    details: 'The VM is stopped for it, and started again where it ran.',
    arguments: { vm: VM_ARGUMENT, snapshot: SNAPSHOT_ARGUMENT },
    options: { timeout: WAIT_OPTION },
    run: async (context, { args: { vm, snapshot }, options: { timeout = DEFAULT_WAIT_MS } }) => {
      const address = path`/v1/vms/${vm}/restore`
      const request = { method: 'POST', path: address, body: { snapshot }, ...waitingFor(timeout) } as const
      const view = await context.api.call(request)
      const kept = textOf(view, 'restore.id')
      const said = `vm ${vm}: ${stateOf(view)}, as in ${snapshot}; what it was before is ${kept}`
      return printWritten(context, { view, name: kept, said })
    },
  }),
  command('snapshot branch', {
    summary: 'Makes a VM with the disk of a snapshot, and prints its URL once that answers',
    arguments: {
      vm: VM_ARGUMENT,
      snapshot: SNAPSHOT_ARGUMENT,
      name: { kind: NEW_NAME, summary: "The new VM's name; the API chooses one", isOptional: true },
    },
    options: { timeout: WAIT_OPTION },
    run: (context, { args: { vm, snapshot, name }, options: { timeout = DEFAULT_WAIT_MS } }) =>
      newVm(context, { name, source: { vm, snapshot }, timeoutMs: timeout }),
  }),
  command('snapshot delete', {
    summary: 'Deletes snapshots',
    arguments: { vm: VM_ARGUMENT, snapshots: { ...SNAPSHOT_ARGUMENT, isRepeated: true } },
    run: async (context, { args: { vm, snapshots } }) => {
      for (const snapshot of snapshots) {
        await context.api.call({ method: 'DELETE', path: path`/v1/vms/${vm}/snapshots/${snapshot}` })
        if (!context.isJson) await printDeleted(context, [snapshot])
      }
      if (context.isJson) await printDeleted(context, snapshots)
    },
  }),
]
