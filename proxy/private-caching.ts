/** Keeps answers of private ports out of caches that several people share: in front of an edge, or at a company. */

import type { Exchange } from './exchange.ts'

/** RFC 9111 section 3.5 guards what came with Authorization alone; our cookie and our own field are none. */
const SHARED = /^(?:public|s-maxage=\d+|proxy-revalidate)$/i
const OURS = /^(?:private|no-store)(?:=|$)/i
const CACHE_CONTROL = 'cache-control'
const PRIVATE = 'private'

/** `fields` are names and values, alternating; changed in place. */
export function markPrivate(fields: string[], { record, version }: Exchange): void {
  const { route } = record
  if (route === undefined || route.visibility === 'public') return
  let isSaid = false
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at]?.toLowerCase() !== CACHE_CONTROL) continue
    fields[at + 1] = toPrivate(fields[at + 1] ?? '')
    isSaid = true
  }
  if (!isSaid) fields.push(version === '2' ? CACHE_CONTROL : 'Cache-Control', PRIVATE)
}

/** What the VM says of its client's own cache stays. */
function toPrivate(value: string): string {
  const directives = value.split(',').map((directive) => directive.trim())
  if (directives.some((directive) => OURS.test(directive))) return value
  return [PRIVATE, ...directives.filter((directive) => directive !== '' && !SHARED.test(directive))].join(
    ', ',
  )
}
