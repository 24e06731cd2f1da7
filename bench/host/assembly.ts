/** Instructions with jumps to names, for programs that are too long to count distances in. */

import { int32 } from '../../sidecar/guests/machine-code.ts'

/** A stretch of instructions, a place to jump to, or a jump there. */
export type Part = Buffer | { readonly label: string } | { readonly jump: Jump; readonly to: string }

/** What stands before the distance of 32 bits. */
const JUMPS = {
  always: [0xe9],
  'if equal': [0x0f, 0x84],
  'unless equal': [0x0f, 0x85],
  'if negative': [0x0f, 0x88],
} as const satisfies Record<string, readonly number[]>
export type Jump = keyof typeof JUMPS

const DISTANCE_BYTES = 4

/** @throws RangeError for a jump to nowhere */
export function assemble(parts: readonly Part[]): Buffer {
  const places = new Map<string, number>()
  let length = 0
  for (const part of parts) {
    if ('label' in part) places.set(part.label, length)
    length += lengthOf(part)
  }
  let end = 0
  const bytes = parts.map((part) => {
    end += lengthOf(part)
    if ('label' in part) return Buffer.alloc(0)
    if (!('jump' in part)) return part
    const place = places.get(part.to)
    if (place === undefined) throw new RangeError(`nothing is called "${part.to}"`)
    // Distances count from the instruction behind the jump.
    return Buffer.from([...JUMPS[part.jump], ...int32(place - end)])
  })
  return Buffer.concat(bytes)
}

function lengthOf(part: Part): number {
  if ('label' in part) return 0
  return 'jump' in part ? JUMPS[part.jump].length + DISTANCE_BYTES : part.length
}
