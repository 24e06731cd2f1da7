/** Whoever carries out certificate orders stands still until others have ended them, and wakes up: what it does late changes nothing. */

import { randomInt } from 'node:crypto'
import t, { type Test } from 'tap'
import type { OrderState } from '../../acme/rows.ts'
import { until } from '../helpers/until.ts'
import {
  checkEnd,
  countPaid,
  isOver,
  listHeld,
  type RunnerScene,
  runnerSceneFor,
} from './acme-order-scene.ts'
import { NOT_WANTED, type Runner } from './acme-runners.ts'
import { faultKillsFor } from './fault-kills.ts'

/** Of the first of the orders; the others are somewhere about. */
const MOMENTS: readonly OrderState[] = ['ordered', 'answered', 'finalized']
const NAMES = 8
const EACH_S = 20
const END_MS = 60_000
const SHOWN_LINES = 20

const rounds = faultKillsFor(t, { kinds: MOMENTS.length, eachSeconds: EACH_S })

t.test('nobody notices one who slept through the end of its holds', async (t) => {
  const scene = await runnerSceneFor(t, {})
  const names: string[] = []
  const counts = { cutCreations: 0 }
  for (let round = 0; round < rounds; round += 1) {
    for (const moment of MOMENTS) {
      const fresh = Array.from({ length: NAMES }, (_, index) => `www.${moment}${round}-${index}.test`)
      const probe = `www.probe${names.length}.test`
      names.push(...fresh, probe)
      counts.cutCreations += await freeze(t, scene, { names: fresh, moment, probe })
    }
  }
  await checkEnd(t, scene, { names, cutCreations: counts.cutCreations })
  const left = await scene.store.list('challenge/')
  t.same(left.documents, [], 'no answer was published too late')
})

interface Round {
  readonly names: readonly string[]
  readonly moment: OrderState
  /** What it is asked for when it is awake, and answers by. */
  readonly probe: string
}

async function freeze(t: Test, scene: RunnerScene, { names, moment, probe }: Round): Promise<number> {
  const { runners, table } = scene
  const [first = ''] = names
  const reached = scene.untilRow(first, ({ state }) => state === moment)
  for (const name of names) want(runners, name)
  await reached
  const pid = await scene.findHolder(first)
  const sleeper = runners.find((runner) => runner.pid() === pid) ?? runners[0]
  sleeper?.signal('SIGSTOP')
  const cutCreations = await countPaid(scene, names)
  const held = await listHeld(scene, [sleeper?.pid() ?? 0])
  t.comment(`${moment}: stopped with ${held.map(({ name, state }) => `${name} ${state}`).join(', ')}`)
  await until(() => isOver(scene, names), 'the other one ends all orders', END_MS)
  const revisions = names.map((name) => table.get(name, 'ec')?.revision)
  sleeper?.signal('SIGCONT')
  if (sleeper !== undefined) await untilAwake(t, scene, { sleeper, probe })
  const after = names.map((name) => table.get(name, 'ec')?.revision)
  t.same(after, revisions, `${moment}: what the others had written stays`)
  return cutCreations
}

/** Commands that had waited for Redis all that time fail: what was wanted then is wanted again. */
async function untilAwake(
  t: Test,
  { store, lines }: RunnerScene,
  { sleeper, probe }: { readonly sleeper: Runner; readonly probe: string },
): Promise<void> {
  let refusals = lines.filter(({ text }) => text === NOT_WANTED).length
  want([sleeper], probe)
  const isAwake = async () => {
    const refused = lines.filter(({ text }) => text === NOT_WANTED)
    if (refused.length > refusals) {
      t.comment(`wanted again: ${JSON.stringify(refused.at(-1)?.fields)}`)
      want([sleeper], probe)
    }
    refusals = refused.length
    return (await store.get(`certificate/${probe}/ec`)) !== undefined
  }
  await until(isAwake, 'it is awake', END_MS).catch((cause: unknown) => {
    throw new Error(`${cause}\n${JSON.stringify(lines.slice(-SHOWN_LINES))}`, { cause })
  })
}

function want(runners: readonly Runner[], name: string): void {
  runners[randomInt(runners.length)]?.want({ name, names: [name], keyType: 'ec', cause: 'demand' })
}
