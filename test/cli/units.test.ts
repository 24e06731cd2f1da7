/** Amounts as people write and read them. */

import t from 'tap'
import {
  findCpuMillis,
  findDurationMs,
  findInstant,
  findSize,
  formatAmount,
  formatCpus,
  formatDuration,
  formatSize,
} from '../../cli/units.ts'

t.test('reads sizes', (t) => {
  const cases: [string, number | undefined][] = [
    ['0', 0],
    ['1024', 1_024],
    ['512M', 536_870_912],
    ['512m', 536_870_912],
    ['512MiB', 536_870_912],
    ['512 MiB', 536_870_912],
    ['8G', 8_589_934_592],
    ['8GB', 8_000_000_000],
    ['8kB', 8_000],
    ['1.5G', 1_610_612_736],
    ['2T', 2_199_023_255_552],
    ['1P', 1_125_899_906_842_624],
    ['12B', 12],
    ['0.3', 0],
    ['', undefined],
    ['G', undefined],
    ['8X', undefined],
    ['-8G', undefined],
    ['8iB', undefined],
    ['8GG', undefined],
    ['1e3', undefined],
    ['0x10', undefined],
    ['8,5G', undefined],
    ['999999999999999P', undefined],
  ]
  for (const [text, expected] of cases) t.equal(findSize(text), expected, text)
  t.end()
})

t.test('reads CPUs', (t) => {
  const cases: [string, number | undefined][] = [
    ['1', 1_000],
    ['1.5', 1_500],
    ['0.1', 100],
    ['500m', 500],
    ['64', 64_000],
    ['', undefined],
    ['m', undefined],
    ['1.2345', undefined],
    ['two', undefined],
    ['-1', undefined],
  ]
  for (const [text, expected] of cases) t.equal(findCpuMillis(text), expected, text)
  t.end()
})

t.test('reads durations', (t) => {
  const cases: [string, number | undefined][] = [
    ['30s', 30_000],
    ['15m', 900_000],
    ['12h', 43_200_000],
    ['7d', 604_800_000],
    ['2w', 1_209_600_000],
    ['1h30m', 5_400_000],
    ['0.5h', 1_800_000],
    ['', undefined],
    ['7', undefined],
    ['7y', undefined],
    ['7 d', undefined],
    ['d', undefined],
  ]
  for (const [text, expected] of cases) t.equal(findDurationMs(text), expected, text)
  t.end()
})

t.test('reads moments: durations from now, and what is written out', (t) => {
  const now = new Date('2026-01-31T12:00:00Z')
  t.equal(findInstant('7d', now, 1), '2026-02-07T12:00:00.000Z')
  t.equal(findInstant('7d', now, -1), '2026-01-24T12:00:00.000Z')
  t.equal(findInstant('2026-03-01', now, 1), '2026-03-01T00:00:00.000Z')
  t.equal(findInstant('2026-03-01T10:00Z', now, 1), '2026-03-01T10:00:00.000Z')
  t.equal(findInstant('2026-03-01T10:00:00+02:00', now, 1), '2026-03-01T08:00:00.000Z')
  for (const text of [
    '',
    'tomorrow',
    '2026',
    '2026-13-01',
    '2026-03-01 10:00',
    '12',
    '2026-03-01T10:00:00',
  ]) {
    t.equal(findInstant(text, now, 1), undefined, text)
  }
  t.equal(findInstant('999999999w', now, 1), undefined, 'later than any date')
  t.end()
})

t.test('writes amounts as people read them', (t) => {
  t.equal(formatSize(0), '0 B')
  t.equal(formatSize(12), '12 B')
  t.equal(formatSize(1_024), '1 KiB')
  t.equal(formatSize(1_610_612_736), '1.5 GiB')
  t.equal(formatSize(8_589_934_592), '8 GiB')
  t.equal(formatSize(2 ** 60), '1024 PiB')
  t.equal(formatCpus(1_500), '1.5')
  t.equal(formatCpus(2_000), '2')
  t.equal(formatDuration(0), '0s')
  t.equal(formatDuration(-5), '0s')
  t.equal(formatDuration(59_999), '59s')
  t.equal(formatDuration(60_000), '1m')
  t.equal(formatDuration(3 * 3_600_000), '3h')
  t.equal(formatDuration(30 * 86_400_000), '30d')
  t.equal(formatAmount(1_234.56), '1,234.6')
  t.end()
})

t.test('what is shown can be typed again', (t) => {
  for (const bytes of [12, 1_024, 536_870_912, 8_589_934_592, 1_610_612_736]) {
    t.equal(findSize(formatSize(bytes)), bytes)
  }
  for (const millis of [100, 1_500, 64_000]) t.equal(findCpuMillis(formatCpus(millis)), millis)
  t.end()
})
