/** Something dies in the middle of each step that a VM's disk takes: what was wanted comes true, and nothing is half. */

import t from 'tap'
import { guestOptions } from '../helpers/guests.ts'
import { faultKillsFor } from './fault-kills.ts'
import { guestFleetFor } from './guest-fleet.ts'
import { STEPS } from './guest-steps.ts'
import { killInSteps } from './killed-steps.ts'

const steps = [STEPS.create, STEPS.snapshot, STEPS.copy, STEPS.grow, STEPS.restore, STEPS.delete]
/** In the long form each step meets each kind of death. */
const rounds = Math.max(1, Math.floor(faultKillsFor(t, { eachSeconds: steps.length * 30 }) / 3))
const { skip } = await guestOptions()

t.test(
  'a VM is made, kept, copied, grown, put back and deleted, whatever dies meanwhile',
  { ...(skip && { skip }) },
  async (t) => {
    await killInSteps(t, await guestFleetFor(t), { steps, rounds })
  },
)
