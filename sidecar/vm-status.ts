/** What a host says of one of its VMs, and the words in which it says why a VM does not run. */

import { stripVTControlCharacters } from 'node:util'
import type { Address } from '../routing/records/records.ts'
import { SidecarError } from './errors.ts'
import { describeExit, type VmExit } from './vmm.ts'

export interface VmStatus {
  /** `failed` when it should run and does not. */
  readonly state: 'running' | 'stopped' | 'failed' | 'asleep'
  /** The guest's ports, in decimal, and how an edge dials each; none unless it runs. */
  readonly ports: Readonly<Record<string, Address>>
  readonly defaultPort?: number
  readonly hostKey?: string
  /** Why it failed: one line of at most 1,000 characters. */
  readonly message?: string
}

const MAX_MESSAGE_CHARACTERS = 1_000
/** More is not looked at. */
const MAX_RAW_CHARACTERS = 8_192

export const STOPPED: VmStatus = { state: 'stopped', ports: {} }

/** Its ports are those that it had; whoever wants one wakes it. */
export function toAsleep(): VmStatus {
  return { state: 'asleep', ports: {} }
}

export function toFailed(text: string): VmStatus {
  return { state: 'failed', ports: {}, message: toMessage(text) }
}

/** Why a start failed. What is no refusal of the driver is for the log alone. */
export function describeStartError(error: unknown): string {
  return error instanceof SidecarError
    ? error.message
    : 'The VM could not be started; the log of its host says why.'
}

export function describeEnd({ lastLines, ...exit }: VmExit): string {
  return [`The VM ended with ${describeExit(exit)} and will be started again`, ...lastLines].join('\n')
}

/** A VM writes part of it: nothing in it may move a terminal's cursor, and nobody could store half a character. */
function toMessage(text: string): string {
  const plain = stripVTControlCharacters(text.slice(0, MAX_RAW_CHARACTERS))
  const line = plain.replaceAll(/[\p{C}\s]+/gu, ' ').trim()
  return line.slice(0, MAX_MESSAGE_CHARACTERS).toWellFormed()
}
