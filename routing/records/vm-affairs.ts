/** The records of what is kept of a VM's disk, of what is to be deleted, and of what a VM is to do once. */

import { type Static, Type } from 'typebox'
import { COUNT, choiceOf, ID, INSTANT, LABEL, MESSAGE, TEXT } from './schema.ts'

/** What a VM is to do once. */
export const CALL_WORDS = ['wake', 'suspend', 'restart'] as const

/** A disk as it was. The API writes `wanted`; the VM's host answers, and writes what it kept before a restore. */
export const SNAPSHOT = Type.Object({
  id: ID,
  vm: LABEL,
  /** Another VM of the same name has other snapshots. */
  vmCreatedAt: INSTANT,
  pool: LABEL,
  label: Type.Optional(TEXT),
  kind: choiceOf(['made', 'kept']),
  state: choiceOf(['wanted', 'ready', 'failed']),
  message: Type.Optional(MESSAGE),
  /** What the disk had taken by then, its image aside. */
  bytes: Type.Optional(COUNT),
  takenAt: Type.Optional(INSTANT),
  createdAt: INSTANT,
})

/** Files that a host has to delete: of a VM, or of one snapshot of a VM. */
export const GRAVE = Type.Object({
  vm: LABEL,
  vmCreatedAt: INSTANT,
  pool: LABEL,
  /** Who has the files. */
  host: LABEL,
  snapshot: Type.Optional(ID),
  deletedAt: INSTANT,
})

/** Something that a VM is to do once; its host deletes it when it is done. */
export const CALL = Type.Object({
  vm: LABEL,
  what: choiceOf(CALL_WORDS),
  id: ID,
  at: INSTANT,
})

export type CallWord = (typeof CALL_WORDS)[number]
export type SnapshotRecord = Static<typeof SNAPSHOT>
export type GraveRecord = Static<typeof GRAVE>
export type CallRecord = Static<typeof CALL>
