/** Adds the next signing key to the store when it is due; every edge does, and one of them succeeds. */

import { KeyRotation } from '../../lib/key-rotation.ts'
import type { Log } from '../../lib/log.ts'
import { toMoment } from '../../lib/moment.ts'
import type { Sealer } from '../../lib/seal.ts'
import type { Access, SigningKeyRow } from '../access.ts'
import { createSigningKey, type KeyRing } from './key-ring.ts'
import { findSigningRow, planKey, type RotationTimes } from './key-rotation.ts'
import type { SigningKeyBook } from './signing-key-book.ts'

export interface RotationDeps {
  readonly access: Pick<Access, 'listSigningKeys' | 'onChange'>
  readonly book: SigningKeyBook
  readonly ring: KeyRing
  readonly sealer: Sealer
  readonly log: Log
}

export interface RotationSettings extends RotationTimes {
  /** Unix milliseconds. */
  readonly now: () => number
}

/** How long a start waits until the key that is in the store has come to this edge's memory. */
const FIRST_KEY_LIMIT_MS = 5_000

/** Returns when a key signs here, or when it is clear that none will soon: the store is away. */
export async function startRotation(deps: RotationDeps, settings: RotationSettings): Promise<KeyRotation> {
  const { access, log } = deps
  const { now } = settings
  const rotation = new KeyRotation({
    what: 'the signing keys',
    log,
    isDue: () => planKey(access.listSigningKeys(), now(), settings) !== undefined,
    addDue: () => addDue(deps, settings),
    isInUse: () => findSigningRow(access.listSigningKeys(), now()) !== undefined,
    settle: () => openUsable(deps, now()),
    onChange: (ring) => access.onChange(ring),
  })
  await rotation.start(FIRST_KEY_LIMIT_MS)
  return rotation
}

async function addDue({ book, log, sealer, ring }: RotationDeps, settings: RotationSettings): Promise<void> {
  const { keys, version } = await book.list()
  const nowMs = settings.now()
  const plan = planKey(keys, nowMs, settings)
  if (plan === undefined) return
  const { signsFrom, end } = plan
  const before = keys.filter(({ id }) => id === end?.id)
  // An edge with another secret key would add a key that no other edge can open. Why is in the log already.
  if (!(await canOpen(ring, before))) return
  const createdAt = toMoment(nowMs)
  const added = { ...(await createSigningKey(sealer)), createdAt, signsFrom }
  const ended = before.map((key) => ({ ...key, ...end }))
  const isAdded = await book.change({ put: [added, ...ended] }, version)
  if (isAdded) log.info({ key: added.id, signsFrom }, 'a new signing key was made')
}

/** Keys that sign now or later are opened early, so that the log tells of one that cannot be before it is needed. */
async function openUsable({ access, ring }: RotationDeps, nowMs: number): Promise<void> {
  const rows = access.listSigningKeys()
  const usable = rows.filter(({ signsUntil }) => signsUntil === undefined || nowMs < Date.parse(signsUntil))
  await canOpen(ring, usable)
}

async function canOpen(ring: KeyRing, rows: readonly SigningKeyRow[]): Promise<boolean> {
  const opened = await Promise.allSettled(rows.map((row) => ring.getPrivate(row)))
  return opened.every(({ status }) => status === 'fulfilled')
}
