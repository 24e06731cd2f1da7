/** A sidecar of its own process: starts the VM named on its command line, says so, and waits to be killed. */

import { once } from 'node:events'
import { openWorld, specOf } from './worlds.ts'

const [folder = '', name = ''] = process.argv.slice(2)
await using world = await openWorld(folder)
const vm = await world.vmm.start(specOf(name))
process.stdout.write(`${JSON.stringify(vm.facts)}\n`)
await once(process.stdin, 'close')
