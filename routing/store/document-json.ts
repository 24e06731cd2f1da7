/** Documents to JSON and back, so that no store shares an object with a caller. */

import type { Document } from './store.ts'

/** @throws TypeError when the value is not a JSON object */
export function toJson(value: Document): string {
  const json = JSON.stringify(value)
  if (!json?.startsWith('{')) throw new TypeError('only a JSON object can be stored')
  return json
}

/** Frozen all the way down: readers may share it. */
export function toDocument(json: string): Document {
  return deepFreeze(JSON.parse(json) as Document)
}

function deepFreeze<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null) return value
  for (const member of Object.values(value)) deepFreeze(member)
  return Object.freeze(value)
}
