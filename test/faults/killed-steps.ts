/** Kills the sidecar, a VMM or a storage daemon in the middle of one step after the other. */

import { randomInt } from 'node:crypto'
import type { Test } from 'tap'
import { killIfThere } from '../helpers/landfall.ts'
import { randomMoment } from './fault-kills.ts'
import type { GuestFleet } from './guest-fleet.ts'
import { listProcesses, untilTidy } from './guest-mess.ts'
import { findLost, readRecords } from './guest-records.ts'
import { type Scene, type Step, VM } from './guest-steps.ts'

const VICTIMS = ['sidecar', 'vmm', 'disk'] as const
type Victim = (typeof VICTIMS)[number]

/** In each round each step meets one kind of death, in the next round another. */
export async function killInSteps(
  t: Test,
  fleet: GuestFleet,
  { steps, rounds }: { readonly steps: readonly Step[]; readonly rounds: number },
): Promise<void> {
  const first = randomInt(VICTIMS.length)
  for (let round = 0; round < rounds; round += 1) {
    const scene: Scene = { t, fleet, written: [], number: 0 }
    for (const [index, step] of steps.entries()) {
      await killInStep(t, scene, {
        step,
        victim: VICTIMS[(first + round + index) % VICTIMS.length] ?? 'sidecar',
      })
    }
  }
}

async function killInStep(
  t: Test,
  scene: Scene,
  { step, victim }: { step: Step; victim: Victim },
): Promise<void> {
  const { fleet } = scene
  await step.wish(scene)
  await randomMoment(t, step.ms, `${step.name}: a ${victim} is killed`)
  await kill(fleet, victim)
  const expected = await step.comesTrue(scene).catch((cause: unknown) => {
    const lines = fleet
      .host()
      .logged()
      .slice(-LINES_SHOWN)
      .map((line) => JSON.stringify(line))
    throw new Error(`${step.name}, ${victim}: ${cause}\n${lines.join('\n')}`, { cause })
  })
  await untilTidy(t, fleet, expected)
  if (!expected.running.includes(VM)) return
  const lost = findLost(await readRecords(fleet.edge, VM), scene.written)
  t.same(lost, [], `${step.name}: all that the VM said is on its disk is there`)
}

const LINES_SHOWN = 10

/** Where no such process is, the sidecar is what dies. */
async function kill(fleet: GuestFleet, victim: Victim): Promise<void> {
  const found = listProcesses(fleet).filter(({ role }) => role === victim)
  // In the middle of a step one may be about to end by itself.
  if (found.filter(({ pid }) => killIfThere(pid)).length > 0) return
  await fleet.host().kill()
  await fleet.startHost()
}
