/** Which rung of the ladder comes when, for pools that are short of memory. */

import t from 'tap'
import {
  chooseStep,
  type PoolView,
  type StepSettings,
  type VmView,
} from '../../../sidecar/pools/pressure-step.ts'

const SETTINGS: StepSettings = {
  highShare: 0.9,
  lowShare: 0.75,
  highWaits: 10,
  lowWaits: 1,
  waitsSettleMs: 10_000,
  stepShare: 0.125,
  calmMs: 10_000,
  reclaimEveryMs: 10_000,
  idleMs: 5_000,
}

const IDLE: VmView = {
  vm: 'idle',
  memoryBytes: 800,
  guestBytes: 800,
  floorBytes: 200,
  isStuck: false,
  idleMs: 60_000,
  cpuShare: 0,
  canSuspend: true,
}
const BUSY: VmView = { ...IDLE, vm: 'busy', idleMs: 0, cpuShare: 0.5 }
const FLAT = { guestBytes: 200 }
const HIGH = { memoryBytes: 950, limitBytes: 1_000 }
const LOW = { memoryBytes: 500, limitBytes: 1_000 }
const FRESH = { sinceStepMs: Infinity, sinceReclaimMs: Infinity, calmMs: 0 }

t.test('chooses one rung at a time', (t) => {
  const view: PoolView = { pressure: HIGH, vms: [BUSY, IDLE], ...FRESH }
  const calm = { pressure: LOW, calmMs: 10_000 }
  const cases: { name: string; view: Partial<PoolView>; step: string }[] = [
    { name: 'the idlest gives first', view: {}, step: 'inflate idle 700' },
    { name: 'down to its floor', view: { vms: [{ ...IDLE, guestBytes: 250 }] }, step: 'inflate idle 200' },
    {
      name: 'then the next that is idle',
      view: { vms: [{ ...IDLE, ...FLAT }, { ...IDLE, vm: 'next', idleMs: 6_000 }, BUSY] },
      step: 'inflate next 700',
    },
    {
      name: 'a stuck balloon is passed over',
      view: { vms: [{ ...IDLE, isStuck: true }] },
      step: 'reclaim 200',
    },
    { name: 'then the kernel is asked', view: { vms: [{ ...IDLE, ...FLAT }, BUSY] }, step: 'reclaim 200' },
    {
      name: 'then the idlest sleeps',
      view: { vms: [BUSY, { ...IDLE, ...FLAT }], sinceReclaimMs: 2_000 },
      step: 'suspend idle',
    },
    {
      name: 'even one without a balloon',
      view: { vms: [{ ...IDLE, guestBytes: undefined }], sinceReclaimMs: 2_000 },
      step: 'suspend idle',
    },
    {
      name: 'but never one whose owner forbids it; then those in use give',
      view: { vms: [{ ...IDLE, ...FLAT, canSuspend: false }, BUSY], sinceReclaimMs: 2_000 },
      step: 'inflate busy 700',
    },
    {
      name: 'and never one in use',
      view: { vms: [{ ...BUSY, ...FLAT }], sinceReclaimMs: 2_000 },
      step: 'none exhausted',
    },
    {
      name: 'of two in use, the one with less work gives',
      view: {
        vms: [
          { ...BUSY, vm: 'a' },
          { ...BUSY, vm: 'b', cpuShare: 0.1 },
        ],
        sinceReclaimMs: 0,
      },
      step: 'inflate b 700',
    },
    { name: 'no VMs', view: { vms: [], sinceReclaimMs: 0 }, step: 'none exhausted' },
    {
      name: 'waiting is pressure too',
      view: { pressure: { ...LOW, memorySome: 10 } },
      step: 'inflate idle 700',
    },
    {
      name: 'but not what was waited before the last step',
      view: { pressure: { ...LOW, memorySome: 50 }, sinceStepMs: 9_999 },
      step: 'none wait',
    },
    {
      name: 'nothing between the marks',
      view: { pressure: { ...HIGH, memoryBytes: 800 }, calmMs: 60_000 },
      step: 'none wait',
    },
    {
      name: 'nothing is given back at once',
      view: { ...calm, calmMs: 9_999, vms: [{ ...IDLE, ...FLAT }] },
      step: 'none calm',
    },
    {
      name: 'the busiest gets back first',
      view: {
        ...calm,
        vms: [
          { ...IDLE, ...FLAT },
          { ...BUSY, ...FLAT },
        ],
      },
      step: 'deflate busy 300',
    },
    {
      name: 'and never more than it was given',
      view: { ...calm, vms: [{ ...IDLE, guestBytes: 790 }] },
      step: 'deflate idle 800',
    },
    {
      name: 'nor so much that it begins again',
      view: { ...calm, pressure: { memoryBytes: 74, limitBytes: 100 }, vms: [{ ...IDLE, ...FLAT }] },
      step: 'none calm',
    },
    {
      name: 'nothing to give back',
      view: { ...calm, vms: [IDLE, { ...BUSY, guestBytes: undefined }] },
      step: 'none calm',
    },
  ]
  for (const { name, view: changes, step } of cases) {
    t.equal(Object.values(chooseStep({ ...view, ...changes }, SETTINGS)).join(' '), step, name)
  }
  t.end()
})
