/** Below which label of the answering zone the dns-01 values of a name are: what a delegating CNAME points to. */

import { createHash } from 'node:crypto'
import { toBareName } from '../hostnames.ts'

/** RFC 4648 section 6, in the lower case that host names are shown in. */
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567'
/** 100 bits: nobody finds a second name for a label that is delegated. */
const LABEL_LENGTH = 20

/** The same for `*.name` and `name`, since both are proven at `_acme-challenge.name` (RFC 8555 section 8.4). */
export function toDnsLabel(name: string): string {
  const digest = createHash('sha256').update(toBareName(name.toLowerCase())).digest()
  let label = ''
  for (let at = 0; label.length < LABEL_LENGTH; at += 5) label += BASE32[readFiveBits(digest, at)]
  return label
}

/** Where a CA looks for the values of a name. */
export function toChallengeName(name: string): string {
  return `_acme-challenge.${toBareName(name)}`
}

function readFiveBits(bytes: Buffer, at: number): number {
  const pair = bytes.readUInt16BE(at >> 3)
  return (pair >> (11 - (at & 7))) & 31
}
