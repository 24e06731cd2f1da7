/** The changes whose way into the tables is timed. */

/** Microseconds on a clock that all processes of the machine share. */
export function nowMicros(): number {
  return Number(process.hrtime.bigint() / 1_000n)
}

export function probeNameOf(probe: number): string {
  return `probe-${probe}.bench.example`
}

/** Carries the time in its generation. */
export function probeOf(probe: number) {
  const upstream = { host: '10.0.0.1', port: 80 }
  const row = { hostname: probeNameOf(probe), visibility: 'public', upstream, state: 'running' }
  return { ...row, generation: nowMicros() }
}
