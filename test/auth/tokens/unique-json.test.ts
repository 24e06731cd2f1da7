/** JSON without duplicate members: agrees with JSON.parse on everything else. */

import { array, asyncProperty, constantFrom, json, jsonValue, string, tuple } from 'fast-check'
import t from 'tap'
import { JsonError, parseUniqueJson } from '../../../auth/tokens/unique-json.ts'
import { fuzzFor } from '../../helpers/fuzz.ts'

function reasonOf(text: string): string {
  try {
    parseUniqueJson(text)
    return 'fine'
  } catch (error) {
    if (error instanceof JsonError) return error.reason
    throw error
  }
}

t.test('refuses an object in which a member stands twice, however it is spelled and however deep', (t) => {
  const cases = [
    '{"a":1,"a":1}',
    '{"a":1,"b":2,"a":3}',
    '{"a":1,"\\u0061":2}',
    '{"\\u0061\\u0062":1,"\\u0061b":2}',
    '{"x":{"a":1,"a":2}}',
    '{"x":[[{"a":1,"a":2}]]}',
    '{"x":{"a":{"a":1,"a":{}}}}',
    '{"":1,"":2}',
    '{"__proto__":1,"__proto__":2}',
    '{"\\"":1,"\\"":2}',
    '{"a\\\\":1,"a\\\\":2}',
    '{"1":0,"1":0}',
    '{"a" \t\n:1 , "a"\r:2}',
  ]
  for (const text of cases) t.equal(reasonOf(text), 'duplicate-member', text)
  t.end()
})

t.test('takes objects whose members differ, with colons and quotes in their strings', (t) => {
  const cases = [
    '{}',
    ' {"a":1} ',
    '{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}',
    '{":":":","::":"{\\"a\\":1,\\"a\\":1}"}',
    '{"__proto__":{"a":1},"constructor":1,"toString":2}',
    '{"a\\\\":"\\\\","b\\"":"\\":\\":"}',
    '{"a":"a:a","A":":"}',
  ]
  for (const text of cases) t.same(parseUniqueJson(text), JSON.parse(text), text)
  t.equal(
    Object.getPrototypeOf(parseUniqueJson('{"__proto__":{"a":1}}')),
    Object.prototype,
    'no prototype is set',
  )
  t.end()
})

t.test('refuses what is not an object, and what is not JSON', (t) => {
  for (const text of ['1', '"a"', 'null', 'true', '[]', '[{"a":1}]'])
    t.equal(reasonOf(text), 'no-object', text)
  for (const text of [
    '',
    '{',
    '{"a":1,}',
    "{'a':1}",
    '{a:1}',
    '{"a":1}{',
    '\ufeff{}',
    '{"a":"\n"}',
    '{"a":01}',
  ]) {
    t.equal(reasonOf(text), 'no-json', JSON.stringify(text))
  }
  t.end()
})

t.test('reads deep nesting without a deep stack, in time that grows with the length alone', (t) => {
  const depth = 2_000
  const deep = `{"a":${'['.repeat(depth)}{"b":1,"b":2}${']'.repeat(depth)}}`
  t.equal(reasonOf(deep), 'duplicate-member')
  const wide = `{${Array.from({ length: 100_000 }, (_, index) => `"${index}":":"`).join(',')}}`
  const start = performance.now()
  t.equal(reasonOf(wide), 'fine')
  t.ok(performance.now() - start < 2_000)
  t.end()
})

const fuzz = fuzzFor(t, { seconds: 4 })

t.test('takes what JSON.stringify makes of any object', async (t) => {
  const property = asyncProperty(jsonValue(), string(), async (value, name) => {
    const text = JSON.stringify({ [name]: value, [`${name}x`]: value })
    if (JSON.stringify(parseUniqueJson(text)) !== JSON.stringify(JSON.parse(text))) throw new Error('differs')
  })
  await fuzz.holds(t, property, 0.3)
})

/** `"` and the characters of `name`, some of them escaped. */
function spell(name: string, escapes: readonly boolean[]): string {
  const units = Array.from({ length: name.length }, (_, index) => name.charCodeAt(index))
  const spelled = units.map((unit, index) =>
    escapes[index % escapes.length] === true
      ? `\\u${unit.toString(16).padStart(4, '0')}`
      : JSON.stringify(String.fromCharCode(unit)).slice(1, -1),
  )
  return `"${spelled.join('')}"`
}

t.test('finds a member put in twice anywhere, however it is spelled', async (t) => {
  const flags = array(constantFrom(true, false), { minLength: 1, maxLength: 8 })
  const property = asyncProperty(
    string(),
    tuple(flags, flags),
    json(),
    json(),
    async (name, spellings, first, second) => {
      const [one, two] = spellings.map((escapes) => spell(name, escapes))
      const text = `{"outer":[${first},{${one}:${first},${two}:${second}}]}`
      if (reasonOf(text) !== 'duplicate-member') throw new Error(text)
    },
  )
  await fuzz.holds(t, property, 0.4)
})

t.test('refuses exactly the texts that JSON.parse refuses, and those that are no object', async (t) => {
  const pieces = constantFrom(
    '{',
    '}',
    '[',
    ']',
    '"',
    ':',
    ',',
    '\\',
    'a',
    'b',
    '1',
    ' ',
    '"a"',
    '"b":',
    'null',
    '\\u0061',
  )
  const property = asyncProperty(array(pieces, { maxLength: 14 }), async (list) => {
    const text = list.join('')
    const reason = reasonOf(text)
    let parsed: unknown
    try {
      parsed = JSON.parse(text)
    } catch (cause) {
      if (reason !== 'no-json') throw new Error(`${text}: ${reason}`, { cause })
      return
    }
    const isObject = typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
    if (reason === 'no-json' || (reason === 'no-object') === isObject) throw new Error(`${text}: ${reason}`)
  })
  await fuzz.holds(t, property, 0.3)
})
