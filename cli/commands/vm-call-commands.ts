/** `landfall vm copy`, `restart`, `suspend` and `wake`: what is done to a VM once. */

import { printWritten } from '../answers.ts'
import { type Command, type CommandContext, command } from '../command.ts'
import { NEW_NAME, VM } from '../kinds.ts'
import { newVm } from './new-vm.ts'
import { DEFAULT_WAIT_MS, VM_ARGUMENT, WAIT_OPTION } from './vm-commands.ts'
import { callVm, stateOf, type VmCall } from './vm-puts.ts'

export const VM_CALL_COMMANDS: readonly Command[] = [
  command('vm copy', {
    summary: 'Makes a VM with a copy of the disk of another, and prints its URL once that answers',
    details:
      'The other one runs on. Size, image and default port are as there; host names, grants and keys are not copied.',
    arguments: {
      vm: { kind: VM, summary: 'The VM to copy' },
      name: { kind: NEW_NAME, summary: "The copy's name; the API chooses one", isOptional: true },
    },
    options: { timeout: WAIT_OPTION },
    examples: ['landfall vm copy web web-test'],
    run: (context, { args: { vm, name }, options: { timeout = DEFAULT_WAIT_MS } }) =>
      newVm(context, { name, source: { vm }, timeoutMs: timeout }),
  }),
  command('vm restart', {
    summary: 'Shuts a VM down, starts it again and waits until it runs',
    details: 'One that is asleep loses its memory.',
    arguments: { vm: VM_ARGUMENT },
    options: {
      timeout: { ...WAIT_OPTION, summary: 'How long to wait, as 30s; 1m unless given, and at most' },
    },
    run: (context, { args: { vm }, options: { timeout = DEFAULT_WAIT_MS } }) =>
      printCalled(context, { name: vm, what: 'restart', timeoutMs: timeout }),
  }),
  command('vm suspend', {
    summary: "Writes a running VM's memory to disk and waits until it is asleep; the next request wakes it",
    arguments: { vm: VM_ARGUMENT },
    options: { timeout: WAIT_OPTION },
    run: (context, { args: { vm }, options: { timeout = DEFAULT_WAIT_MS } }) =>
      printCalled(context, { name: vm, what: 'suspend', timeoutMs: timeout }),
  }),
  command('vm wake', {
    summary: 'Wakes a VM that is asleep and waits until it runs',
    arguments: { vm: VM_ARGUMENT },
    options: { timeout: WAIT_OPTION },
    run: (context, { args: { vm }, options: { timeout = DEFAULT_WAIT_MS } }) =>
      printCalled(context, { name: vm, what: 'wake', timeoutMs: timeout }),
  }),
]

async function printCalled(context: CommandContext, call: VmCall): Promise<void> {
  const view = await callVm(context, call)
  return printWritten(context, { view, name: call.name, said: `vm ${call.name}: ${stateOf(view)}` })
}
