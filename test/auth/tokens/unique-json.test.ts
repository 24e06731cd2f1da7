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
    '{"a\\/b":1,"a/b":2}',
    '{"\\ud83d\\ude00":1,"\ud83d\ude00":2}',
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
    '{"a":"\\\\","b":"\\":\\":","c":"\\u0022:\\u005c\\u0022","d":"\\n\\u000a"}',
    '{"https:\\/\\/example.test\\/roles":["\\u00fcber"],"gr\\u00fcn":1,"\\ud83d\\ude00":2,"\\ud83d":3}',
    '{"a":"\\\\u0041"}',
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

t.test('refuses names that cannot be written without an escape', (t) => {
  for (const name of ['\\"', '\\\\', 'a\\n', '\\u0022', '\\u005c', '\\u0000', '\\\\u0061'])
    t.equal(reasonOf(`{"x":{"${name}":1}}`), 'escaped-member', name)
  t.end()
})

t.test('reads names as they are, whatever was parsed before', (t) => {
  // V8 14.6 then takes the first character of an escape in this place, a backslash, for the name.
  JSON.parse('{"y":1,"\\\\":1}')
  JSON.parse('{"y":1,"\\\\u0":1}')
  t.equal(reasonOf('{"y":1,"\\u0079":2}'), 'duplicate-member')
  t.same(parseUniqueJson('{"y":1,"\\u0073\\u0075\\u0062":2}'), { y: 1, sub: 2 })
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
    '{"a":\\u0031}',
    '{\\u0022a":1}',
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
  const before = process.threadCpuUsage()
  t.equal(reasonOf(wide), 'fine')
  t.ok(process.threadCpuUsage(before).user < 2_000_000)
  t.end()
})

const fuzz = fuzzFor(t, { seconds: 4 })

/** JSON cannot write the name without an escape. */
function isOdd(name: string): boolean {
  return [...name].some((char) => char === '"' || char === '\\' || char < ' ')
}

function hasOddName(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  return Object.entries(value).some(([name, inner]) => isOdd(name) || hasOddName(inner))
}

t.test('takes what JSON.stringify makes of any object', async (t) => {
  const property = asyncProperty(jsonValue(), string(), async (value, name) => {
    const text = JSON.stringify({ [name]: value, [`${name}x`]: value })
    if (isOdd(name) || hasOddName(value)) {
      if (reasonOf(text) !== 'escaped-member') throw new Error('taken')
    } else if (JSON.stringify(parseUniqueJson(text)) !== JSON.stringify(JSON.parse(text)))
      throw new Error('differs')
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
      const isRefusedAnyway = isOdd(name) || [first, second].some((inner) => hasOddName(JSON.parse(inner)))
      if (reasonOf(text) !== (isRefusedAnyway ? 'escaped-member' : 'duplicate-member')) throw new Error(text)
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
