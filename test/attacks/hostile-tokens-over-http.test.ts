/** The table of hostile tokens against a whole edge: the log has the reason, the answer has none, and the VM gets nothing. */

import t from 'tap'
import { countSignatureChecks } from '../auth/gate/gate-kit.ts'
import { edgeWithForgerFor } from '../auth/tokens/edge-forger.ts'
import { goodOnes } from '../auth/tokens/forger.ts'
import { listHostileClaims } from '../auth/tokens/hostile-claims.ts'
import { listHostileForms } from '../auth/tokens/hostile-forms.ts'
import { listHostileUses } from '../auth/tokens/hostile-uses.ts'
import { until } from '../helpers/until.ts'

/** Larger than any head that the edge reads, so it does not come that far. */
const NEVER_READ = '60,000 bytes'

t.test('refuses each over HTTP, and says why in the log alone', async (t) => {
  const { edge, forger, origin, publish, send } = await edgeWithForgerFor(t)
  const good = goodOnes(forger)
  const cases = [...listHostileForms(forger), ...listHostileClaims(forger), ...listHostileUses(forger)]
  await publish()
  for (const hostile of good) {
    await until(async () => (await send(hostile)).status === 200, 'a good one passes')
  }
  // That record was written last: when it is known, all are.
  const gone = { cookie: forger.cookie({ sub: 'leftus' }) }
  await until(async () => (await send(gone)).status === 401, 'the revocations are known')
  const served = origin.requests.length
  const checks = countSignatureChecks(t)
  const answers = new Map<string, string>()
  for (const { name, hostile, refusal, checks: expected = 0 } of cases) {
    if (name === NEVER_READ) continue
    const [code = '', reason = ''] = refusal.split(' ')
    checks.count = 0
    const lines = edge.accessLog.length
    const { status, headers, body } = await send(hostile)
    await until(() => edge.accessLog.length > lines, 'a log line')
    const line = edge.accessLog.at(-1)
    t.strictSame([line?.error_code, line?.auth_reason], [code, reason], name)
    t.equal(checks.count, expected, `signature checks for ${name}`)
    const { requestId, ...problem } = JSON.parse(body)
    const told = JSON.stringify([status, problem, headers['www-authenticate'], headers['content-type']])
    t.equal(answers.get(code) ?? told, told, `the answer to ${name}`)
    t.equal(requestId, headers['x-request-id'])
    answers.set(code, told)
  }
  t.equal(origin.requests.length, served, 'the VM was asked for none of it')
  t.strictSame([...answers.keys()].toSorted(), [
    'auth_forbidden',
    'auth_invalid',
    'auth_limited',
    'auth_origin',
    'auth_required',
  ])
})
