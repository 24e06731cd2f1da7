/** The records of what is kept of a VM's disk, of what is to be deleted, of what a VM is to do once, and of whose its name was. */

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

/** A pool that gave up a VM's name, or a domain that led to it: DNS may still lead there what is not the next owner's. */
export const FORMER_OWNER = Type.Object({
  vm: LABEL,
  /** Absent when several pools had the name, or nobody knows which. */
  pool: Type.Optional(LABEL),
  at: INSTANT,
  expiresAt: INSTANT,
})

export type CallWord = (typeof CALL_WORDS)[number]
export type SnapshotRecord = Static<typeof SNAPSHOT>
export type GraveRecord = Static<typeof GRAVE>
export type CallRecord = Static<typeof CALL>
export type FormerOwnerRecord = Static<typeof FORMER_OWNER>
