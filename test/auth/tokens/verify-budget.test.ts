/** Failures are what a client has few of; what counts costs it nothing. */

import t from 'tap'
import { AuthError } from '../../../auth/errors.ts'
import { VerifyBudget } from '../../../auth/tokens/verify-budget.ts'

const forged = async () => {
  throw new AuthError('auth_invalid', 'bad-signature')
}

function budgetOf(failuresPerSecond = 2) {
  const clock = { ms: 1_000_000 }
  const budget = new VerifyBudget({ failuresPerSecond, now: () => clock.ms })
  /** Of so many tries: how many were checked. */
  const countChecked = async (address: string, tries: number) => {
    let checked = 0
    for (let index = 0; index < tries; index += 1) {
      try {
        await budget.spend(address, forged)
      } catch (error) {
        if (error instanceof AuthError && error.code === 'auth_invalid') checked += 1
      }
    }
    return checked
  }
  return { budget, clock, countChecked }
}

t.test('five seconds of failures at once, then as many as come back', async (t) => {
  const { clock, countChecked } = budgetOf()
  t.equal(await countChecked('192.0.2.1', 30), 10)
  clock.ms += 500
  t.equal(await countChecked('192.0.2.1', 30), 1)
  clock.ms += 3_600_000
  t.equal(await countChecked('192.0.2.1', 30), 10, 'never more than that')
  t.equal(await countChecked('192.0.2.2', 30), 10, 'another client')
  clock.ms -= 3_600_000
  t.equal(await countChecked('192.0.2.2', 30), 0, 'a clock set back gives nothing')
})

t.test('success and failures of our own cost nothing', async (t) => {
  const { budget } = budgetOf()
  for (let index = 0; index < 100; index += 1) t.equal(await budget.spend('192.0.2.1', async () => 7), 7)
  for (let index = 0; index < 100; index += 1) {
    await t.rejects(
      budget.spend('192.0.2.1', async () => {
        throw new AuthError('auth_stale', 'no-key')
      }),
      { code: 'auth_stale' },
    )
  }
})

t.test('one customer of IPv6 is one client, however the address is spelled', async (t) => {
  const { countChecked } = budgetOf()
  t.equal(await countChecked('2001:db8:1:2::1', 30), 10)
  for (const same of ['2001:db8:1:2:ffff::', '2001:DB8:1:2:a:b:c:d', '2001:0db8:0001:0002::9']) {
    t.equal(await countChecked(same, 3), 0, same)
  }
  for (const other of ['2001:db8:1:3::1', '2001:db8:1::2', '2001:db8::1:2', '::1', '1::']) {
    t.equal(await countChecked(other, 3), 3, other)
  }
  t.equal(await countChecked('192.0.2.5', 30), 10)
  t.equal(await countChecked('::ffff:192.0.2.5', 3), 0)
})

t.test('64 checks at once, 32 of one client', async (t) => {
  const { budget } = budgetOf(1_000)
  const gate = Promise.withResolvers<void>()
  const running: Promise<void>[] = []
  const refusals: string[] = []
  const start = (address: string, count: number) => {
    for (let index = 0; index < count; index += 1) {
      try {
        running.push(budget.spend(address, () => gate.promise))
      } catch (error) {
        if (error instanceof AuthError) refusals.push(error.reason)
      }
    }
  }
  start('192.0.2.1', 33)
  t.strictSame([running.length, refusals], [32, ['client-checks-under-way']])
  start('192.0.2.2', 32)
  start('192.0.2.3', 1)
  t.strictSame([running.length, refusals.at(-1)], [64, 'checks-under-way'])
  gate.resolve()
  await Promise.all(running)
  t.equal(await budget.spend('192.0.2.3', async () => 1), 1)
})
