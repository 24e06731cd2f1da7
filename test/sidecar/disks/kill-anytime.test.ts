/** Our process is killed at any moment of any operation on disks: nothing is lost, and what was begun can be done again. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import type { Disks } from '../../../sidecar/disks/disks.ts'
import { folderFor } from '../../helpers/folder.ts'
import { apply, type Content, type DiskOperation, type DiskStates, randomOf, SLOTS } from './disk-model.ts'
import { cannotServe, DiskFolder, endDaemons, POOL, TEMPLATE_BYTE, uniform, vmOf } from './disk-scene.ts'

const KILLS = process.env.LANDFALL_SLOW === '1' ? 36 : 16
// About 30 s on two cores.
t.setTimeout(110_000)
const OPERATOR = new URL('./disk-operator.ts', import.meta.url).pathname
const seed = Number(process.env.LANDFALL_FUZZ_SEED ?? Date.now() % 1_000_000)

interface Round {
  readonly states: DiskStates
  /** Begun and not ended. */
  readonly pending: DiskOperation | undefined
  readonly done: number
}

/** Kills the operator `afterMs` after it is ready, or after its first operation. @throws Error when it ends by itself */
async function runOperator(
  folder: DiskFolder,
  before: Round,
  { seed, afterMs, isAfterOne }: { seed: number; afterMs: number; isAfterOne: boolean },
): Promise<Round> {
  const planned = before.pending ? apply(before.states, before.pending) : before.states
  const args = [
    OPERATOR,
    folder.path,
    String(seed),
    JSON.stringify(before.pending ?? null),
    JSON.stringify(planned),
  ]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  let errors = ''
  let timer: NodeJS.Timeout | undefined
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    if (isAfterOne && !output.includes('"end"')) return
    timer ??= setTimeout(() => child.kill('SIGKILL'), afterMs)
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  const [, signal] = await once(child, 'close')
  clearTimeout(timer)
  if (signal !== 'SIGKILL') throw new Error(`the operator ended: ${errors}\n${output.slice(-1_000)}`)
  return follow(before, output)
}

function follow(before: Round, output: string): Round {
  let round: Round = { ...before, done: 0 }
  for (const line of output.split('\n').slice(0, -1)) {
    const { begin, end } = JSON.parse(line)
    if (begin) round = { ...round, pending: begin }
    if (end) round = { states: apply(round.states, end), pending: undefined, done: round.done + 1 }
  }
  return round
}

async function readContent(disks: Disks, folder: DiskFolder, vm: string): Promise<Content> {
  const run = folder.runOf(vm)
  await ((await disks.adopt(vmOf(vm), run)) ?? disks.open(vmOf(vm), run))
  const disk = await folder.connect(vm)
  const content: Record<string, number> = {}
  for (let slot = 0; slot < SLOTS; slot += 1) {
    const byte = uniform(await disk.read(slot * 262_144, 65_536))
    if (byte !== (slot < 4 ? TEMPLATE_BYTE : 0)) content[slot] = byte
  }
  disk.close()
  return content
}

/** What differs from the model, where the pending operation may have been carried out or not. */
async function compare(disks: Disks, folder: DiskFolder, { states, pending }: Round): Promise<unknown[]> {
  const after = pending ? apply(states, pending) : states
  const faults: unknown[] = []
  for (const vm of Object.keys(states)) {
    if (!after[vm]) continue
    const allowed = [states[vm]?.content, after[vm]?.content].map((content) => JSON.stringify(content))
    const content = JSON.stringify(await readContent(disks, folder, vm))
    if (!allowed.includes(content)) faults.push({ vm, content, allowed, pending })
    const ids = [states, after].map((one) =>
      Object.keys(one[vm]?.snapshots ?? {})
        .toSorted()
        .join(),
    )
    const found = (await disks.listSnapshots(vmOf(vm))).toSorted().join()
    if (!ids.includes(found)) faults.push({ vm, found, ids, pending })
  }
  return faults
}

/** Copies every snapshot and reads the copy. */
async function compareSnapshots(disks: Disks, folder: DiskFolder, states: DiskStates): Promise<unknown[]> {
  const faults: unknown[] = []
  for (const [vm, { snapshots }] of Object.entries(states))
    for (const [id, content] of Object.entries(snapshots)) {
      await disks.create(vmOf('probe'), {
        pool: POOL,
        from: { kind: 'vm', vm: vmOf(vm), snapshot: id },
        sizeBytes: 0,
      })
      const found = await readContent(disks, folder, 'probe')
      await disks.remove(vmOf('probe'))
      if (JSON.stringify(found) !== JSON.stringify(content)) faults.push({ vm, id, found, content })
    }
  return faults
}

t.test(`killed ${KILLS} times, with seed ${seed}`, { skip: cannotServe, timeout: 100_000 }, async (t) => {
  const folder = new DiskFolder(folderFor(t))
  folder.fill()
  const random = randomOf(seed)
  t.teardown(() => endDaemons(folder))
  let round: Round = { states: {}, pending: undefined, done: 0 }
  let operations = 0
  for (let kill = 0; kill < KILLS; kill += 1) {
    const plan = {
      ...{ seed: Math.floor(random() * 1e9), afterMs: 20 + random() * random() * 500 },
      isAfterOne: kill % 2 === 1,
    }
    round = await runOperator(folder, round, plan)
    operations += round.done
    await using disks = await folder.start()
    const faults = await compare(disks, folder, round)
    t.same(faults, [], `kill ${kill} in ${round.pending?.kind}`)
    if (faults.length > 0) return
    if (kill % 9 === 8) {
      const known = Object.fromEntries(
        Object.entries(round.states).filter(([vm]) => vm !== round.pending?.vm),
      )
      t.same(await compareSnapshots(disks, folder, known), [], 'snapshots')
    }
  }
  await using disks = await folder.start()
  for (const vm of Object.keys(round.states)) await (await disks.adopt(vmOf(vm), folder.runOf(vm)))?.close()
  await disks[Symbol.asyncDispose]()
  t.same(folder.checkLayers(), [])
  // On a slow machine some rounds end before their first operation does.
  t.ok(operations >= KILLS / 2, `${operations} operations`)
})
