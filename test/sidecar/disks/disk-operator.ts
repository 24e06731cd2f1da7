/**
 * Carries out random operations on disks until it is killed, and says of each on standard output when it begins and when
 * it has ended. Arguments: data folder, seed, the operation to begin with (JSON) or nothing.
 */

import { writeSync } from 'node:fs'
import type { Disks } from '../../../sidecar/disks/disks.ts'
import { type DiskOperation, planOperation, randomOf } from './disk-model.ts'
import { DiskFolder, POOL, vmOf } from './disk-scene.ts'

const [, , path = '', seed = '1', ...first] = process.argv
const folder = new DiskFolder(path)
const random = randomOf(Number(seed))

function say(message: object): void {
  writeSync(1, `${JSON.stringify(message)}\n`)
}

async function carryOut(disks: Disks, operation: DiskOperation): Promise<void> {
  const { kind, vm } = operation
  const id = vmOf(vm)
  const run = folder.runOf(vm)
  const ready = async () => (await disks.adopt(id, run)) ?? (await disks.open(id, run))
  switch (kind) {
    case 'make': {
      const from = { kind: 'template', file: folder.template } as const
      return disks.create(id, { pool: POOL, from, sizeBytes: 2 ** 30 })
    }
    case 'copy': {
      const { source, snapshot } = operation
      const from = { kind: 'vm', vm: vmOf(source), ...(snapshot !== undefined && { snapshot }) } as const
      return disks.create(id, { pool: POOL, from, sizeBytes: 0 })
    }
    case 'write': {
      await ready()
      const disk = await folder.connect(vm)
      await disk.write(operation.slot * 262_144, Buffer.alloc(65_536, operation.byte))
      await disk.flush()
      return disk.close()
    }
    case 'snapshot':
      return void (await disks.takeSnapshot(id, operation.id))
    case 'unsnapshot':
      return disks.deleteSnapshot(id, operation.id)
    case 'restore':
      await (await disks.adopt(id, run))?.close()
      return disks.restore(id, { id: operation.id, keepAs: operation.keepAs })
    case 'close':
      return void (await (await disks.adopt(id, run))?.close())
    case 'kill': {
      const open = await ready()
      // 0 would be everything that was started together with the test.
      const pid = folder.pidOf(vm)
      if (!pid) throw new Error(`nobody knows what serves the disk of ${vm}`)
      process.kill(pid, 'SIGKILL')
      return open.exited
    }
    case 'remove':
      return disks.remove(id)
  }
}

const disks = await folder.start()
say({ ready: true })
for await (const operation of operations()) {
  say({ begin: operation })
  await carryOut(disks, operation)
  say({ end: operation })
}

async function* operations(): AsyncIterable<DiskOperation> {
  const [again, state = '{}'] = first
  if (again !== undefined && again !== 'null') yield JSON.parse(again)
  const model = planOperation(JSON.parse(state), random)
  for (;;) yield model.next()
}
