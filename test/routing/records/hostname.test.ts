/** Host names have one canonical form, and what is not a host name has none. */

import { check, property, string } from 'fast-check'
import t from 'tap'
import {
  isLabel,
  isRouteHostname,
  parseRouteHostname,
  toHostname,
} from '../../../routing/records/hostname.ts'

const LABEL_63 = 'a'.repeat(63)
const NAME_253 = `${`${LABEL_63}.`.repeat(3)}${'a'.repeat(61)}`

const CANONICAL: Readonly<Record<string, string>> = {
  'hello.example.test': 'hello.example.test',
  'Hello.EXAMPLE.Test': 'hello.example.test',
  'hello.example.test.': 'hello.example.test',
  'bücher.example': 'xn--bcher-kva.example',
  'BÜCHER.example': 'xn--bcher-kva.example',
  'xn--bcher-kva.example': 'xn--bcher-kva.example',
  'XN--BCHER-KVA.example': 'xn--bcher-kva.example',
  'faß.example': 'xn--fa-hia.example',
  'bücher。example': 'xn--bcher-kva.example',
  '3000--hello.example.test': '3000--hello.example.test',
  '1.2.3.4.example': '1.2.3.4.example',
  '1a': '1a',
  localhost: 'localhost',
  [NAME_253]: NAME_253,
  [`${NAME_253}.`]: NAME_253,
}

const NO_HOSTNAMES = [
  '',
  '.',
  '..',
  'a..b',
  '.a',
  'a.b..',
  '*.example.test',
  'a_b.example',
  '-a.example',
  'a-.example',
  `${LABEL_63}a.example`,
  `a${NAME_253}`,
  `${NAME_253}a`,
  '127.0.0.1',
  '127.0.0.1.',
  '127.1',
  '0x7f.1',
  'example.123',
  'example.0x1f',
  '1.2.3.4',
  '[::1]',
  '::1',
  'a.example:80',
  'user@a.example',
  'a.example/path',
  'a.example\\path',
  'a.example#x',
  'a.example?x',
  'a%41.example',
  'a%2eb',
  'a b.example',
  ' a.example',
  'a.example\n',
  'a\tb.example',
  'a\0.example',
  'a.example/b',
  'a%41.example',
  '℀.example',
  '\u200b.example',
  '\ud800.example',
  'é'.repeat(2_000),
]

t.test('gives host names their canonical form', async (t) => {
  for (const [text, expected] of Object.entries(CANONICAL)) t.equal(toHostname(text), expected, text)
})

t.test('gives no form to what is not a host name', async (t) => {
  for (const text of NO_HOSTNAMES) {
    t.equal(toHostname(text), undefined, JSON.stringify(text))
  }
})

t.test('leaves a canonical form as it is, whatever it came from', async (t) => {
  const isStable = property(string({ unit: 'binary', maxLength: 40 }), (text) => {
    const hostname = toHostname(text)
    return hostname === undefined || (toHostname(hostname) === hostname && /^[a-z0-9.-]+$/.test(hostname))
  })
  const { failed, counterexample, seed } = check(isStable, { numRuns: 2_000 })
  t.notOk(failed, `seed ${seed}: ${JSON.stringify(counterexample)}`)
})

t.test('takes names of two labels or more for routes', async (t) => {
  t.equal(parseRouteHostname('Hello.Localhost.'), 'hello.localhost')
  for (const text of ['localhost', 'intranet', '127.0.0.1', '*.example.test', '']) {
    t.throws(() => parseRouteHostname(text), { code: 'api_record_invalid', field: '/hostname' }, text)
  }
  t.ok(isRouteHostname('hello.localhost'))
  for (const text of ['localhost', 'Hello.localhost', 'hello.localhost.', 'xn--ü.test'])
    t.notOk(isRouteHostname(text))
})

t.test('takes single labels in lower case for names of VMs', async (t) => {
  for (const text of ['hello', 'a', '3000', 'a-b', LABEL_63]) t.ok(isLabel(text), text)
  for (const text of ['', 'Hello', 'a.b', '-a', 'a_b', `${LABEL_63}a`, 'a/b']) t.notOk(isLabel(text), text)
})
