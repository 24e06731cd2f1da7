/** `npm run bench` without a benchmark: it says which there are, and refuses what it does not know. */

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const RUN = fileURLToPath(new URL('../../bench/run.ts', import.meta.url))

function run(args: readonly string[], env = process.env) {
  return spawnSync(process.execPath, [RUN, ...args], { encoding: 'utf8', env })
}

t.test('names the benchmarks when none or a wrong one is given', (t) => {
  for (const args of [[], ['relais'], ['relay', 'relay']]) {
    const { status, stderr } = run(args)
    t.equal(status, 2, args.join(' '))
    t.match(stderr, /^ {2}relay {2,}\S/m)
  }
  t.end()
})

t.test('refuses settings that are no counts, and settings that there are not', (t) => {
  for (const value of ['0', '-1', '1.5', 'x', '']) {
    const { status, stderr } = run(['relay', `--rounds=${value}`])
    t.equal(status, 1)
    t.match(stderr, '--rounds takes a whole number', value)
  }
  t.match(run(['relay', '--turns', '3']).stderr, /Unknown option '--turns'[\s\S]*usage:/)
  t.end()
})

t.test('names the programs that are missing and the script that installs them', (t) => {
  const { status, stderr } = run(['relay'], { PATH: t.testdir() })
  t.equal(status, 1)
  t.match(stderr, /not found: .*\bwrk, h2load\b[\s\S]*test\/setup[\s\S]*\bnghttp2-client\b/)
  t.end()
})
