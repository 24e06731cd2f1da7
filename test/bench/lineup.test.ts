/** Every proxy of the relay benchmark, started and asked: what is timed answers rightly first. */

import { readFileSync } from 'node:fs'
import t from 'tap'
import { findTree } from '../../bench/frame/process-tree.ts'
import { loadPrograms } from '../../bench/frame/programs.ts'
import type { Answer } from '../../bench/frame/request.ts'
import { BACKEND_BODY } from '../../bench/proxies/backend.ts'
import { startCommand } from '../../bench/proxies/landfall.ts'
import {
  checkProxy,
  type ExpectedFields,
  findAnswerFaults,
  findFieldFaults,
} from '../../bench/relay/answer-check.ts'
import { startLineup } from '../../bench/relay/lineup.ts'
import { SCENARIOS } from '../../bench/relay/scenarios.ts'
import { until } from '../helpers/until.ts'

t.test('each proxy answers in each scenario, logs and sets its fields; none is left running', async (t) => {
  const { signal } = new AbortController()
  const programs = await loadPrograms()
  const childrenBefore = findTree(process.pid).length
  const lineup = await startLineup({ programs, folder: t.testdir(), signal })
  t.teardown(() => lineup[Symbol.asyncDispose]())
  t.same(
    lineup.proxies.map(({ name }) => name),
    ['nginx', 'HAProxy', 'http-proxy-3', 'Landfall'],
  )
  const checks = SCENARIOS.flatMap((scenario) =>
    lineup.proxies.map((proxy) =>
      t.resolves(checkProxy(proxy, scenario, { ...lineup, signal }), `${proxy.name}, ${scenario.name}`),
    ),
  )
  await Promise.all(checks)
  await lineup[Symbol.asyncDispose]()
  await until(() => findTree(process.pid).length <= childrenBefore, 'no process is left')
})

t.test('Landfall runs with the flags of npm start', (t) => {
  const packageJson = JSON.stringify({ scripts: { start: 'node --max-semi-space-size=7 main.ts dev' } })
  t.same(startCommand(packageJson), [process.execPath, '--max-semi-space-size=7', 'main.ts', 'dev'])
  t.throws(() => startCommand('{"scripts":{"start":"bun main.ts"}}'), { name: 'BenchError' })
  const actual = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  t.equal(startCommand(actual).at(-1), 'dev')
  t.end()
})

t.test('finds a wrong answer', (t) => {
  const right: Answer = { status: 200, body: BACKEND_BODY, tlsVersion: 'TLSv1.3' }
  t.equal(Buffer.byteLength(BACKEND_BODY), 100)
  t.same(findAnswerFaults(right, { scheme: 'https' }), [])
  t.same(findAnswerFaults({ ...right, tlsVersion: undefined }, { scheme: 'http' }), [])
  t.match(findAnswerFaults({ ...right, status: 204 }, { scheme: 'https' }), [/^status 204/])
  t.match(findAnswerFaults({ ...right, body: 'Hello' }, { scheme: 'https' }), [/body: Hello/])
  t.match(findAnswerFaults({ ...right, tlsVersion: 'TLSv1.2' }, { scheme: 'https' }), [/^TLSv1.2/])
  t.end()
})

t.test('finds fields that did not reach the backend, or should not have', (t) => {
  const right = { host: 'a:1', forwardedFor: '127.0.0.1', forwardedProto: 'https', requestId: 'x' }
  const expected: ExpectedFields = { host: 'a:1', scheme: 'https', setsRequestId: true }
  const faultsOf = (fields: object, changed: object = {}) =>
    findFieldFaults(
      { status: 200, body: JSON.stringify({ ...right, ...fields }), tlsVersion: undefined },
      { ...expected, ...changed },
    )
  t.same(faultsOf({}), [])
  t.same(faultsOf({ requestId: '' }, { setsRequestId: false }), [])
  t.match(faultsOf({ host: 'a' }), [/Host "a"/])
  t.match(faultsOf({ forwardedFor: '' }), [/X-Forwarded-For ""/])
  t.match(faultsOf({ forwardedProto: 'http' }), [/X-Forwarded-Proto "http"/])
  t.match(faultsOf({ requestId: '' }), [/X-Request-Id ""/])
  t.match(faultsOf({}, { setsRequestId: false }), [/X-Request-Id "x"/])
  t.match(findFieldFaults({ status: 404, body: '', tlsVersion: undefined }, expected), [/answers 404/])
  t.end()
})
