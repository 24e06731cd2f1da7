/** A start that cannot succeed says in one plain message what is wrong and what to do, and exits with code 1. */

import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import t from 'tap'
import { childrenOf, isRunning, landfallFor, landfallProcessFor } from '../helpers/landfall.ts'
import { until } from '../helpers/until.ts'

for (const name of ['LANDFALL_HTTPS_PORT', 'LANDFALL_HTTP_PORT', 'LANDFALL_OPS_PORT']) {
  t.test(`names the port when the one of ${name} is taken`, async (t) => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    t.teardown(() => void other.close())
    const { port } = other.address() as AddressInfo
    const landfall = landfallProcessFor(t, { env: { [name]: String(port) } })
    t.same(await landfall.exited, { code: 1, signal: null })
    t.match(landfall.stderr(), `port ${port} is taken`)
    t.match(landfall.stderr(), /LANDFALL_HTTPS_PORT/, 'says which settings choose ports')
    t.notMatch(landfall.stderr(), /\n\s+at /, 'without a stack trace')
    t.equal(landfall.stdout(), '', 'and does not claim to be ready')
  })
}

t.test('refuses settings that it does not know or that are wrong, naming each of them', async (t) => {
  const env = { LANDFALL_HTTP_PROT: '80', LANDFALL_HTTPS_PORT: '70000', LANDFALL_STORE: 'floppy' }
  const landfall = landfallProcessFor(t, { env })
  t.same(await landfall.exited, { code: 1, signal: null })
  t.match(landfall.stderr(), /LANDFALL_HTTP_PROT is not a setting/)
  t.match(landfall.stderr(), /LANDFALL_HTTPS_PORT must be a whole number from 0 to 65535/)
  t.match(landfall.stderr(), /LANDFALL_STORE must be one of sqlite, memory/)
  t.notMatch(landfall.stderr(), /\n\s+at /, 'without a stack trace')
})

t.test('leaves no VM behind when the edge cannot start', async (t) => {
  const running = await landfallFor(t)
  const second = landfallProcessFor(t, {
    env: { LANDFALL_HTTPS_PORT: String(running.httpsPort) },
  })
  let children: number[] = []
  await until(() => {
    // It runs for 300 ms only; a look that comes too late finds it in the log.
    const logged = Array.from(second.stderr().matchAll(/process (\d+) listens/g), ([, pid]) => Number(pid))
    children = isRunning(second.pid) ? childrenOf(second.pid) : logged
    return children.length > 0
  }, 'the VM of the second one runs')
  t.equal((await second.exited).code, 1)
  t.notOk(children.some(isRunning))
  t.ok(childrenOf(running.pid).every(isRunning), 'the first one goes on')
})
