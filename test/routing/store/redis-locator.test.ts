/** Who is asked for the master, and who is believed. */

import type { Redis } from 'ioredis'
import t from 'tap'
import { AskingLocator, type Sighting } from '../../../routing/store/redis-locator.ts'
import type { RedisAddress } from '../../../routing/store/redis-settings.ts'

const hosts = (...names: string[]): RedisAddress[] => names.map((host) => ({ host, port: 1 }))
const see = (name: string, epoch: number, ...peers: string[]): Sighting => ({
  address: { host: name, port: 7 },
  epoch,
  peers: hosts(...peers),
})

/** `say` answers for each host that is asked; the hosts are noted. */
function locatorOf(configured: string[], say: (host: string) => Sighting) {
  const asked: string[] = []
  const state = { opened: 0, closed: 0 }
  const open = () => {
    state.opened += 1
    return { status: 'ready', disconnect: () => (state.closed += 1) } as unknown as Redis
  }
  const ask = async (_: Redis, { host }: RedisAddress) => {
    asked.push(host)
    return say(host)
  }
  return { locator: new AskingLocator(hosts(...configured), open, ask), asked, state }
}

t.test('believes the newest configuration, whoever is first', async (t) => {
  const epochs: Record<string, number> = { a: 3, b: 5, c: 4 }
  const { locator } = locatorOf(['a', 'b', 'c'], (host) => see(`master-of-${host}`, epochs[host] ?? 0))
  t.strictSame(await locator.locate(), { host: 'master-of-b', port: 7 })
})

t.test('does without those that do not answer, and asks them again over a new connection', async (t) => {
  const { locator, state } = locatorOf(['a', 'b'], (host) => {
    if (host === 'a') throw new Error('gone')
    return see('m', 1)
  })
  await locator.locate()
  await locator.locate()
  t.strictSame(state, { opened: 3, closed: 2 }, 'the one to b stays open')
  locator[Symbol.dispose]()
  t.equal(state.closed, 3)
})

t.test('asks those as well that it has been told of', async (t) => {
  const { locator, asked } = locatorOf(['a'], () => see('m', 1, 'a', 'b', 'c'))
  await locator.locate()
  t.strictSame(asked, ['a'])
  await locator.locate()
  t.strictSame(asked, ['a', 'a', 'b', 'c'])
})

t.test('says why when nobody knows, each reason once', async (t) => {
  const { locator } = locatorOf(['a', 'b'], () => {
    throw new Error('no route')
  })
  await t.rejects(locator.locate(), { message: 'no master is known: no route' })
})

t.test('asks once for all that want to know at one time', async (t) => {
  const { locator, asked } = locatorOf(['a'], () => see('m', 1))
  await Promise.all([locator.locate(), locator.locate()])
  t.strictSame(asked, ['a'])
})
