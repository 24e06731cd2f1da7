/** Something dies in the middle of each step between running, sleeping and standing still: what was wanted comes true. */

import t from 'tap'
import { guestOptions } from '../helpers/guests.ts'
import { faultKillsFor } from './fault-kills.ts'
import { guestFleetFor } from './guest-fleet.ts'
import { STEPS } from './guest-steps.ts'
import { killInSteps } from './killed-steps.ts'

const steps = [STEPS.create, STEPS.suspend, STEPS.wake, STEPS.resize, STEPS.stop, STEPS.start, STEPS.delete]
/** In the long form each step meets each kind of death. */
const rounds = Math.max(1, Math.floor(faultKillsFor(t, { eachSeconds: steps.length * 30 }) / 3))
const { skip } = await guestOptions()

t.test(
  'a VM starts, sleeps, wakes, is resized and stops, whatever dies meanwhile',
  { ...(skip && { skip }) },
  async (t) => {
    await killInSteps(t, await guestFleetFor(t), { steps, rounds })
  },
)
