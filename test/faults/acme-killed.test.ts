/** Whoever carries out a certificate order is killed in each of its states: another one ends it, and the authority hardly notices. */

import { randomInt } from 'node:crypto'
import t, { type Test } from 'tap'
import { ORDER_STATES, type OrderState } from '../../acme/rows.ts'
import type { PebbleOptions } from '../helpers/pebble.ts'
import {
  checkEnd,
  countPaid,
  isPaid,
  listHeld,
  type RunnerScene,
  runnerSceneFor,
} from './acme-order-scene.ts'
import type { Runner } from './acme-runners.ts'
import { faultKillsFor, randomMoment } from './fault-kills.ts'

const STATES = ORDER_STATES.filter((state) => state !== 'failed')
/** Besides one in each state: the whole fleet, at some moment after one. */
const AT_RANDOM = 2
/** Some steps. */
const RANDOM_MS = 100
/** A step's effect and the row that tells of it lie within. */
const STEP_MS = 30
/** One order that the kill is for, and one beside it. */
const NAMES_PER_KILL = 2
/** Names that several orders have in common, so that the authority knows some as proven. */
const SHARED_NAMES = 5
const EACH_S = 6

interface Target {
  readonly state: OrderState
  readonly withinMs: number
  readonly isOfAll: boolean
}

const KINDS = STATES.length + AT_RANDOM
const kills = faultKillsFor(t, { kinds: KINDS, eachSeconds: EACH_S })
const targets = Array.from({ length: kills }, toTargets).flat()

/** As Pebble is by default (5 % of good nonces refused, half of the proofs used again), and worse. */
const AUTHORITIES: readonly PebbleOptions[] = [{}, { nonceReject: 50, authzReuse: 50 }]

for (const [index, options] of AUTHORITIES.entries()) {
  const own = targets.filter((_, at) => (at + Math.floor(at / KINDS)) % AUTHORITIES.length === index)
  t.test(`${own.length} kills with ${JSON.stringify(options)}`, (t) => killAll(t, options, own))
}

/** At first before the step's effect, later at any moment of it. */
function toTargets(_: unknown, turn: number): readonly Target[] {
  const random = Array.from({ length: AT_RANDOM }, () => ({
    state: STATES[randomInt(STATES.length)] ?? 'wanted',
    withinMs: RANDOM_MS,
    isOfAll: true,
  }))
  const withinMs = turn === 0 ? 0 : STEP_MS
  return [...STATES.map((state) => ({ state, withinMs, isOfAll: false })), ...random]
}

async function killAll(t: Test, options: PebbleOptions, targets: readonly Target[]): Promise<void> {
  const scene = await runnerSceneFor(t, options)
  const names: string[] = []
  const counts = { cutCreations: 0 }
  for (const [round, target] of targets.entries()) {
    const fresh = Array.from({ length: NAMES_PER_KILL }, (_, index) => `www.shop${round}-${index}.test`)
    names.push(...fresh)
    counts.cutCreations += await killAt(t, scene, { target, names: fresh, round })
  }
  await checkEnd(t, scene, { names, cutCreations: counts.cutCreations })
  t.same((await scene.store.list('challenge/')).documents, [], 'no challenge is left')
}

interface Round {
  readonly target: Target
  readonly names: readonly string[]
  readonly round: number
}

/** Resolves how many orders the authority may have been given that nobody knows of. */
async function killAt(t: Test, scene: RunnerScene, { target, names, round }: Round): Promise<number> {
  const [name = ''] = names
  const { state, withinMs } = target
  const reached = scene.untilRow(name, (row) => row.state === state && (state !== 'wanted' || isPaid(row)))
  for (const one of names) want(scene, one, round)
  await reached
  if (withinMs > 0) await randomMoment(t, withinMs, `after ${state}`)
  const victims = await chooseVictims(scene, name, target)
  const pids = victims.map((runner) => runner.pid())
  await Promise.all(victims.map((runner) => runner.kill()))
  const cutCreations = await countPaid(scene, names)
  const held = await listHeld(scene, pids)
  const states = held.map((row) => `${row.name} ${row.state}`).join(', ')
  t.comment(`${state}: ${victims.map((runner) => runner.name).join(' and ')} died with ${states}`)
  await Promise.all(victims.map((runner) => runner.start()))
  return cutCreations
}

/** Whoever holds the order; where it has just ended, any. */
async function chooseVictims(
  { runners, findHolder }: RunnerScene,
  name: string,
  { isOfAll }: Target,
): Promise<readonly Runner[]> {
  if (isOfAll) return runners
  const pid = await findHolder(name)
  const holder = runners.find((runner) => runner.pid() === pid)
  return holder === undefined ? runners.slice(0, 1) : [holder]
}

function want({ runners }: RunnerScene, name: string, round: number): void {
  const names = [name, `www.shared${round % SHARED_NAMES}.test`]
  runners[randomInt(runners.length)]?.want({ name, names, keyType: 'ec', cause: 'demand' })
}
