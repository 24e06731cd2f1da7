/** What wrk and h2load print is read right, and a run with one failed request counts for nothing. */

import t from 'tap'
import { parseH2load } from '../../bench/load/h2load.ts'
import { parseWrk } from '../../bench/load/wrk.ts'

interface WrkLine {
  readonly requests?: number
  readonly socketErrors?: number
  readonly statusErrors?: number
}

function wrkOutput({ requests = 50_000, socketErrors = 0, statusErrors = 0 }: WrkLine = {}): string {
  const line = { requests, durationMicros: 2_000_000, p99Micros: 1_500, socketErrors, statusErrors }
  return `Running 2s test @ http://bench.localhost:1/\n  1 threads and 32 connections\n${JSON.stringify(line)}\n`
}

t.test('reads the line of wrk.lua', (t) => {
  t.same(parseWrk(wrkOutput()), { requests: 50_000, rps: 25_000, p99Ms: 1.5 })
  t.end()
})

t.test('refuses a run of wrk with errors, without requests or without a report', (t) => {
  t.throws(() => parseWrk(wrkOutput({ socketErrors: 1 })), { name: 'BenchError', message: /1 socket errors/ })
  t.throws(() => parseWrk(wrkOutput({ statusErrors: 2 })), { message: /2 error statuses/ })
  t.throws(() => parseWrk(wrkOutput({ requests: 0 })), { message: /0 requests/ })
  t.throws(() => parseWrk('Running 2s test\n'), { message: /did not report/ })
  t.end()
})

interface H2loadCounts {
  readonly requests?: string
  readonly statuses?: string
  readonly protocol?: string
}

const REQUESTS = '200 total, 264 started, 200 done, 200 succeeded, 0 failed, 0 errored, 0 timeout'

function h2loadOutput({
  requests = REQUESTS,
  statuses = '203 2xx, 0 3xx, 0 4xx, 0 5xx',
  protocol = 'h2',
}: H2loadCounts = {}): string {
  return `TLS Protocol: TLSv1.3
Application protocol: ${protocol}

finished in 2.00s, 100.50 req/s, 12.1KB/s
requests: ${requests}
status codes: ${statuses}
traffic: 7.75MB (8125217) total, 2.99MB (3134775) headers (space savings 50.51%), 3.66MB (3838500) data
`
}

/** Microseconds of each request, in the order of the log. */
function h2loadLog(micros: readonly number[]): string {
  return micros.map((each) => `1795361527594893\t200\t${each}\n`).join('')
}

t.test('reads the summary and the log of h2load', (t) => {
  const micros = Array.from({ length: 200 }, (_, index) => (200 - index) * 10)
  t.same(parseH2load(h2loadOutput(), h2loadLog(micros)), { requests: 200, rps: 100.5, p99Ms: 1.98 })
  t.end()
})

t.test('refuses a run of h2load with errors, another status, another protocol or no request', (t) => {
  const broken: Record<string, H2loadCounts> = {
    failed: { requests: REQUESTS.replace('0 failed', '1 failed') },
    errored: { requests: REQUESTS.replace('0 errored', '1 errored') },
    timeout: { requests: REQUESTS.replace('0 timeout', '1 timeout') },
    'no request': { requests: REQUESTS.replaceAll('200', '0') },
    redirected: { statuses: '199 2xx, 1 3xx, 0 4xx, 0 5xx' },
    'client error': { statuses: '199 2xx, 0 3xx, 1 4xx, 0 5xx' },
    'server error': { statuses: '199 2xx, 0 3xx, 0 4xx, 1 5xx' },
    'no HTTP/2': { protocol: 'http/1.1' },
  }
  for (const [name, counts] of Object.entries(broken))
    t.throws(() => parseH2load(h2loadOutput(counts), h2loadLog([1])), { name: 'BenchError' }, name)
  t.throws(() => parseH2load('starting benchmark...\n', ''), { message: /did not report/ })
  t.end()
})
