/** The disk of a guest that is made larger. */

import t from 'tap'
import { guestOptions } from '../../helpers/guests.ts'
import { until } from '../../helpers/until.ts'
import { askGuest, specOf, worldFor } from './worlds.ts'

t.setTimeout(300_000)
const options = await guestOptions()
const GIB = 2 ** 30

t.test(
  'a guest runs and sleeps on with the size that its disk had at its start, and has the new one after its next start',
  options,
  async (t) => {
    const { vmm, complaints } = await worldFor(t)
    const small = specOf('one', { diskBytes: 2 * GIB })
    const large = { ...small, diskBytes: 4 * GIB }
    const vm = await vmm.start(small)
    await until(async () => (await askGuest(vm)).rootBytes > 1.5 * GIB, 'the file system fills the disk')
    await vm.update(large)
    t.match(await askGuest(vm), { diskBytes: 2 * GIB }, 'QEMU 7.2 cannot tell it')
    await vm.suspend()
    const woken = await vmm.start(large)
    const { asked, diskBytes } = await askGuest(woken)
    t.equal(diskBytes, 2 * GIB)
    t.ok(asked > 2, 'it slept')
    await woken.stop(20_000)
    const again = await vmm.start(large)
    await until(async () => (await askGuest(again)).rootBytes > 3.5 * GIB, 'so does the file system')
    t.match(await askGuest(again), { diskBytes: 4 * GIB })
    await again.stop(0)
    t.same(complaints, [])
  },
)
