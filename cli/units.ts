/** Amounts as people write and read them. */

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
const POWERS: Readonly<Record<string, number>> = { '': 0, K: 1, M: 2, G: 3, T: 4, P: 5 }
const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 }
const DURATION = /^(?:\d{1,9}(?:\.\d{1,3})?[smhdw])+$/
const MAX_INSTANT_MS = 8.64e15

/** `512M`, `1.5G`, `8GiB`: powers of 1024; `8GB`: of 1000; bare numbers are bytes. Undefined when it is none. */
export function findSize(text: string): number | undefined {
  const [, amount = '', prefix = '', end = ''] =
    /^(\d{1,15}(?:\.\d{1,6})?) ?([KMGTP]?)(i?B|)$/i.exec(text) ?? []
  if (amount === '' || (prefix === '' && end.startsWith('i'))) return undefined
  const base = prefix !== '' && /^b$/i.test(end) ? 1_000 : 1_024
  return toWhole(Number(amount) * base ** (POWERS[prefix.toUpperCase()] ?? 0))
}

/** `2`, `1.5` or `500m` CPUs, in thousandths. Undefined when it is none. */
export function findCpuMillis(text: string): number | undefined {
  const [, amount = '', unit] = /^(\d{1,6}(?:\.\d{1,3})?)(m?)$/.exec(text) ?? []
  return amount === '' ? undefined : toWhole(Number(amount) * (unit === 'm' ? 1 : 1_000))
}

/** `30s`, `15m`, `12h`, `7d`, `2w`, `1h30m`, in milliseconds. Undefined when it is none. */
export function findDurationMs(text: string): number | undefined {
  if (!DURATION.test(text)) return undefined
  const parts = [...text.matchAll(/([\d.]+)([smhdw])/g)]
  const seconds = parts.reduce((sum, [, amount, unit = '']) => sum + Number(amount) * (SECONDS[unit] ?? 0), 0)
  return toWhole(seconds * 1_000)
}

/** A moment in ISO 8601, or a duration from `now`; `direction` is 1 for later, -1 for ago. */
export function findInstant(text: string, now: Date, direction: 1 | -1): string | undefined {
  const durationMs = findDurationMs(text)
  const isWritten = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d))?$/.test(text)
  const time =
    durationMs === undefined
      ? isWritten
        ? Date.parse(text)
        : Number.NaN
      : now.getTime() + direction * durationMs
  return Math.abs(time) <= MAX_INSTANT_MS ? new Date(time).toISOString() : undefined
}

/** `8 GiB`, `1.5 MiB`, `12 B`. */
export function formatSize(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), BINARY.length - 1)
  return `${trimmed(bytes / 1_024 ** power)} ${BINARY[power]}`
}

/** `1.5` for 1,500 thousandths. */
export function formatCpus(millis: number): string {
  return String(millis / 1_000)
}

/** The largest unit that fits, whole: `3d`, `5h`, `12m`, `7s`. */
export function formatDuration(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1_000))
  const [unit, size] =
    Object.entries(SECONDS)
      .filter(([name]) => name !== 'w')
      .findLast(([, size]) => seconds >= size) ?? (['s', 1] as const)
  return `${Math.floor(seconds / size)}${unit}`
}

/** `1,234.5`. */
export function formatAmount(amount: number): string {
  return amount.toLocaleString('en-GB', { maximumFractionDigits: 1 })
}

function trimmed(amount: number): string {
  return String(Math.round(amount * 10) / 10)
}

function toWhole(amount: number): number | undefined {
  const whole = Math.round(amount)
  return Number.isSafeInteger(whole) ? whole : undefined
}
