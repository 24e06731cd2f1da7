/** `landfall domain check` while one thing after the other is wrong with a name, as its owner meets them, until all is right. */

import t, { type Test } from 'tap'
import { orderingSettings, sharingEdgesFor } from '../helpers/certified-edges.ts'
import { CLI_DOMAIN, fleetCliFor } from '../helpers/fleet-cli.ts'
import { putTestPool, putTestVm } from '../helpers/host.ts'
import { challengeServerFor } from '../helpers/pebble.ts'
import { smallCaFor } from '../helpers/small-ca.ts'
import { until } from '../helpers/until.ts'

const NAME = 'www.shop.test'
const DEADLINE_MS = 20_000

async function sceneFor(t: Test) {
  const dns = await challengeServerFor(t)
  const smallCa = await smallCaFor(t, { caaIdentities: ['small-ca.test'] })
  const sharing = await sharingEdgesFor(t, {
    env: {
      ...orderingSettings(smallCa, dns.server),
      LANDFALL_DOMAIN: CLI_DOMAIN,
      LANDFALL_ACME_LIMITS: 'domain=2,failures=2',
    },
  })
  await putTestPool(sharing.store, { name: 'default' })
  await putTestVm(sharing.store, { name: 'web' })
  return { ...sharing, dns, smallCa, ...fleetCliFor(t, sharing) }
}

type Scene = Awaited<ReturnType<typeof sceneFor>>

/** The steps of a check by what they say: `wrong dns`, and so on. */
interface Checked {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  readonly steps: readonly string[]
}

async function check({ cli }: Scene, hostname = NAME): Promise<Checked> {
  const result = await cli(`domain check ${hostname}`)
  const steps = [...result.stdout.matchAll(/^(right|wrong|waiting|unknown) +(\w+)/gm)]
  return { ...result, steps: steps.map(([, state, step]) => `${state} ${step}`) }
}

/** Asks for the certificate, and waits until `domain check` says what becomes of it. */
async function order(scene: Scene, expected: RegExp, hostname = NAME): Promise<void> {
  const asked = await scene.cli(`domain certificate renew ${hostname}`)
  if (asked.code !== 0) throw new Error(asked.stderr)
  const isSaid = async () => expected.test((await scene.cli(`domain certificate show ${hostname}`)).stdout)
  await until(isSaid, `${hostname}: ${expected}`, DEADLINE_MS)
}

async function addProven(scene: Scene, hostname = NAME): Promise<void> {
  const added = await scene.cli(`domain add ${hostname} web --proven`)
  if (added.code !== 0) throw new Error(added.stderr)
}

t.test('from the proof to the certificate, one thing after the other', async (t) => {
  const scene = await sceneFor(t)
  const { cli, dns, smallCa } = scene
  const added = await cli(`domain add ${NAME} web`)
  const [, name = '', value = ''] = /(\S+) +TXT +(\S+)/.exec(added.stderr) ?? []

  const unproven = await check(scene)
  t.match(unproven, { code: 1, steps: [], stdout: /^state +pending$/m })
  t.match(unproven.stderr, /TXT +landfall=[\s\S]+www\.shop\.test: proof\./)

  await dns.addTxt(name, value)
  await dns.addA(NAME, ['192.0.2.9'])
  const elsewhere = await check(scene)
  t.match(elsewhere, { code: 1, stdout: /^proof +txt$/m, stderr: /www\.shop\.test: dns, delegation\./ })
  t.match(elsewhere.stdout, /wrong +dns +.* is at 192\.0\.2\.9; .*\n +next: Set the record: .*127\.0\.0\.1/)
  t.match(elsewhere.stdout, /wrong +delegation .*\n +next: .*LANDFALL_DNS_LISTEN/)

  await dns.post('clear-a', { host: `${NAME}.` })
  await dns.addCaa('shop.test', [{ tag: 'issue', value: 'other-ca.test' }])
  const forbidden = await check(scene)
  t.match(forbidden, { code: 1, stderr: /www\.shop\.test: caa\.\n/ })
  t.match(forbidden.stdout, /wrong +caa +.*"other-ca\.test".*\n +next: Add the record: .*"small-ca\.test"/)

  await dns.post('clear-caa', { host: 'shop.test.' })
  smallCa.options.validate = () => 'nothing is there'
  await order(scene, /The last try/)
  const refused = await check(scene)
  t.match(refused, { code: 1, stderr: /www\.shop\.test: order, certificate\.\n/ })
  t.match(refused.stdout, /wrong +order .*nothing is there.*It is tried again at 20\d\d-/)
  t.match(refused.stdout, /Left: .*domain 1 of 2, account-new .*, failures 1 of 2\./)

  delete smallCa.options.validate
  await order(scene, /^ec +acme/m)
  const good = await check(scene)
  t.match(good, { code: 0, stderr: '' })
  t.match(good.stdout, /right +certificate +ec from .*, ordered, ends at .*, renewed at /)
  t.notMatch(good.steps.join(), /wrong|unknown/)
})

t.test('a budget that is used up is named, with the moment from which there is one again', async (t) => {
  const scene = await sceneFor(t)
  for (const hostname of ['one.shop.test', 'two.shop.test']) {
    await addProven(scene, hostname)
    await order(scene, /^ec +acme/m, hostname)
  }
  t.match(await check(scene, 'two.shop.test'), { code: 0 }, 'who has a certificate needs nothing')
  await addProven(scene)
  await order(scene, /The last try/)
  const { code, stdout, stderr, steps } = await check(scene)
  t.equal(code, 1)
  t.match(stderr, /www\.shop\.test: order, certificate\.\n/)
  t.ok(steps.includes('waiting budget'), stdout)
  t.match(stdout, /Left: .*domain 0 of 2.*\n +next: Wait until 20\d\d-/)
  t.match(stdout, /\(certificate_budget\)/)
  t.equal(scene.smallCa.orders.length, 2, 'the authority was not asked')
})

t.test('the authority that does not answer is named', async (t) => {
  const scene = await sceneFor(t)
  await addProven(scene)
  await scene.smallCa.stop()
  let checked = await check(scene)
  // What was heard a moment ago counts.
  const isHeardOf = async () => {
    checked = await check(scene)
    return checked.code !== 0
  }
  await until(isHeardOf, 'the silence is noticed')
  t.match(checked, { code: 1, stderr: /www\.shop\.test: ca\.\n/ })
  t.match(checked.stdout, /wrong +ca +127\.0\.0\.1:\d+ does not answer: /)
  await scene.smallCa.start()
  t.match(await check(scene), { code: 0 })
})
