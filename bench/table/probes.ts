/** The changes whose way into the tables is timed. */

/** Microseconds on a clock that all processes of the machine share. */
export function nowMicros(): number {
  return Number(process.hrtime.bigint() / 1_000n)
}

/** No two series share a name: each probe is a row that was not there before. */
export function probeNameOf(series: string, probe: number): string {
  return `probe-${probe}.${series}.bench.example`
}

/** Carries the time in its generation. */
export function probeOf(series: string, probe: number) {
  const upstream = { host: '10.0.0.1', port: 80 }
  const row = { hostname: probeNameOf(series, probe), visibility: 'public', upstream, state: 'running' }
  return { ...row, generation: nowMicros() }
}
