/** Gives `Reflect` the three metadata functions without which `@peculiar/x509` refuses to load. */

// Its container (tsyringe) asks only for metadata that it set itself, by exact target: no prototype walk needed.
// A fuller polyfill that was loaded earlier is left alone.
const known = new WeakMap<object, Map<unknown, unknown>>()

function find(key: unknown, target: object): unknown {
  return known.get(target)?.get(key)
}

function define(key: unknown, value: unknown, target: object): void {
  const entries = known.get(target) ?? new Map<unknown, unknown>()
  known.set(target, entries.set(key, value))
}

if (!('getMetadata' in Reflect)) {
  Object.assign(Reflect, { getMetadata: find, getOwnMetadata: find, defineMetadata: define })
}
