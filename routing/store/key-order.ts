/** The byte order of keys as UTF-8, which is not the order of JavaScript strings. */

const FIRST_SURROGATE = 0xd800
const LAST_SURROGATE = 0xdfff

/** Negative when `a` comes before `b`, 0 when they are equal. */
export function compareKeys(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length)
  for (let index = 0; index < shorter; index += 1) {
    const difference = weigh(a.charCodeAt(index)) - weigh(b.charCodeAt(index))
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

// Surrogates stand for U+10000 and up, which UTF-8 sorts after U+E000–U+FFFF.
function weigh(unit: number): number {
  const isSurrogate = unit >= FIRST_SURROGATE && unit <= LAST_SURROGATE
  return isSurrogate ? unit + 0x1_0000 : unit
}
