/** A number per VM, from which its addresses, device names and user id come; kept over restarts. */

import { mkdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { codeOf } from '../lib/node-error.ts'
import { replaceDurably } from '../lib/whole-file.ts'
import { SidecarError } from './errors.ts'
import { keyOfVm, type VmId } from './vm-id.ts'

export const MAX_SLOT = 65_000
const FIRST_UID = 600_000

/** Of the VM's processes; its group has the same number. */
export function uidOfSlot(slot: number): number {
  return FIRST_UID + slot
}

export interface Slots {
  find(vm: VmId): number | undefined
  /** The VM's slot, or one that no other has; it is on disk when this settles. @throws SidecarError host_file_failed */
  take(vm: VmId): Promise<number>
  /** Nothing may be left of the VM that uses it. A VM without a slot is left alone. */
  give(vm: VmId): Promise<void>
}

interface Content {
  /** The slot given last: the next ones come first, so that what others remember of a slot has long gone when it is given again. */
  last: number
  readonly slots: Map<string, number>
}

/** Of this process alone: two at one folder would give slots twice. @throws SidecarError host_file_failed */
export async function openSlots(folder: string): Promise<Slots> {
  const file = join(folder, 'slots.json')
  const content = await loadContent(file)
  const save = createSaver(file, content)
  return {
    find: (vm) => content.slots.get(keyOfVm(vm)),
    take: async (vm) => {
      const slot = takeSlot(content, keyOfVm(vm))
      await save()
      return slot
    },
    give: async (vm) => {
      if (content.slots.delete(keyOfVm(vm))) await save()
    },
  }
}

function takeSlot(content: Content, key: string): number {
  const known = content.slots.get(key)
  if (known !== undefined) return known
  const taken = new Set(content.slots.values())
  for (let step = 1; step <= MAX_SLOT; step += 1) {
    const slot = ((content.last + step - 1) % MAX_SLOT) + 1
    if (taken.has(slot)) continue
    content.slots.set(key, slot)
    content.last = slot
    return slot
  }
  throw new SidecarError('host_file_failed', { detail: `All ${MAX_SLOT} slots of this host are taken` })
}

/** One write at a time; each has all that was changed before it began. A failed one leaves the file to the next. */
function createSaver(file: string, content: Content): () => Promise<void> {
  let saved: string | undefined
  let running: Promise<void> = Promise.resolve()
  let next: Promise<void> | undefined
  const write = async () => {
    next = undefined
    const text = formatContent(content)
    if (text === saved) return
    await saveText(file, text)
    saved = text
  }
  return () => {
    if (next) return next
    const done = running.then(write)
    running = done.catch(() => undefined)
    next = done
    return done
  }
}

function formatContent({ last, slots }: Content): string {
  return `${JSON.stringify({ version: 1, last, slots: Object.fromEntries(slots) })}\n`
}

async function saveText(path: string, text: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await replaceDurably(path, text)
  } catch (cause) {
    throw new SidecarError('host_file_failed', { cause, detail: `${path}: ${String(cause)}` })
  }
}

async function loadContent(file: string): Promise<Content> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    if (codeOf(cause) === 'ENOENT') return undefined
    throw new SidecarError('host_file_failed', { cause, detail: `${file}: ${String(cause)}` })
  })
  return text === undefined ? { last: 0, slots: new Map() } : parseContent(file, text)
}

/** A file that cannot be believed is not guessed at: a slot given twice gives one VM another's disk and address. */
function parseContent(file: string, text: string): Content {
  const refuse = (what: string) => new SidecarError('host_file_failed', { detail: `${file}: ${what}` })
  const { version, last, slots } = parseObject(text) ?? {}
  if (version !== 1) throw refuse('it is not a file of slots in version 1')
  if (!isSlot(last) && last !== 0) throw refuse('"last" is not a slot')
  if (typeof slots !== 'object' || slots === null) throw refuse('it has no "slots"')
  const entries = Object.entries(slots)
  const seen = new Map<number, string>()
  for (const [key, slot] of entries) {
    if (!isSlot(slot)) throw refuse(`the slot of ${key} is not a whole number from 1 to ${MAX_SLOT}`)
    const other = seen.get(slot)
    if (other !== undefined) throw refuse(`${other} and ${key} have the same slot ${slot}`)
    seen.set(slot, key)
  }
  return { last, slots: new Map(entries as readonly [string, number][]) }
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function isSlot(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= 1 && Number(value) <= MAX_SLOT
}
