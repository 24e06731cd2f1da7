/** One process at a time looks after a data folder. */

import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { SidecarError } from '../errors.ts'

/**
 * Node has no flock(2), so SQLite takes the lock: the kernel gives it back when this process ends, however it ends.
 * @throws SidecarError disk_failed when another one has it
 */
export function lockFolder(folder: string): Disposable {
  const database = new DatabaseSync(join(folder, 'disks.lock'))
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
  } catch (cause) {
    database.close()
    const reason = 'another process has it'
    throw new SidecarError('disk_failed', {
      cause,
      detail: `the data folder: ${reason}`,
      context: { folder },
    })
  }
  return {
    [Symbol.dispose]: () => {
      if (database.isOpen) database.close()
    },
  }
}
