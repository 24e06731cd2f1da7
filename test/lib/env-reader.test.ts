/** Settings from an environment: each kind with its bounds, and every problem told at once. */

import t from 'tap'
import { type Environment, EnvReader, SettingsError } from '../../lib/env-reader.ts'

/** What `read` gives, and the problems that it leads to. */
function read<Value>(
  env: Environment,
  ask: (reader: EnvReader) => Value,
): { value: Value; problems: readonly string[] } {
  const reader = new EnvReader(env)
  const value = ask(reader)
  try {
    reader.finish('APP_')
    return { value, problems: [] }
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    return { value, problems: error.problems }
  }
}

t.test('takes the default for what is not set, empty or blank', async (t) => {
  for (const env of [{}, { APP_A: undefined }, { APP_A: '' }, { APP_A: ' \t' }]) {
    t.same(
      read(env, (it) => it.text('APP_A', 'x')),
      { value: 'x', problems: [] },
    )
    t.same(
      read(env, (it) => it.int('APP_A', 7)),
      { value: 7, problems: [] },
    )
    t.same(
      read(env, (it) => it.choice('APP_A', 'a', ['a', 'b'])),
      { value: 'a', problems: [] },
    )
    t.same(
      read(env, (it) => it.list('APP_A', 'things', () => false)),
      { value: [], problems: [] },
    )
    t.same(
      read(env, (it) => it.checked('APP_A', 'x', 'an x', (text) => text === 'x')),
      { value: 'x', problems: [] },
    )
  }
})

const BOUNDS = { min: 10, max: 99 }
const NUMBERS: readonly (readonly [text: string, value: number | undefined])[] = [
  ['10', 10],
  [' 42 ', 42],
  ['0042', 42],
  ['99', 99],
  ['9', undefined],
  ['100', undefined],
  ['-10', undefined],
  ['+10', undefined],
  ['10.5', undefined],
  ['1e1', undefined],
  ['0x10', undefined],
  ['10ms', undefined],
  ['ten', undefined],
  ['NaN', undefined],
  ['Infinity', undefined],
  ['1 0', undefined],
  ['1_0', undefined],
  ['١٠', undefined],
  ['99999999999999999999', undefined],
]

t.test('takes whole numbers within their bounds', async (t) => {
  for (const [text, wanted] of NUMBERS) {
    const { value, problems } = read({ APP_A: text }, (it) => it.int('APP_A', 50, BOUNDS))
    t.equal(value, wanted ?? 50, text)
    if (wanted === undefined) t.match(problems, [/^APP_A must be a whole number from 10 to 99 /], text)
    else t.same(problems, [], text)
  }
  t.same(read({ APP_A: '0' }, (it) => it.int('APP_A', 1)).value, 0, 'from 0 when there is no bound')
  t.equal(read({ APP_A: '-1' }, (it) => it.int('APP_A', 1)).problems.length, 1)
})

t.test('takes one of several words, exactly', async (t) => {
  const ask = (env: Environment) => read(env, (it) => it.choice('APP_A', 'on', ['on', 'off']))
  t.same(ask({ APP_A: 'off' }), { value: 'off', problems: [] })
  for (const text of ['OFF', 'o', 'on,off', 'toString'])
    t.match(ask({ APP_A: text }), { value: 'on', problems: [/^APP_A must be one of on, off \(got "/] }, text)
})

t.test('takes lists, without blanks and empty items, and names each wrong one', async (t) => {
  const ask = (text: string) =>
    read({ APP_A: text }, (it) => it.list('APP_A', 'letters', (item) => /^[a-z]$/.test(item)))
  t.same(ask('a,b, c ,,'), { value: ['a', 'b', 'c'], problems: [] })
  const { problems } = ask('a,1,b,2')
  t.match(problems, [
    /^APP_A must be a list of letters \(got "1"\)$/,
    /^APP_A must be a list of letters \(got "2"\)$/,
  ])
})

t.test('takes texts that pass a check', async (t) => {
  const ask = (text: string) =>
    read({ APP_A: text }, (it) => it.checked('APP_A', 'x', 'one letter', (it) => it.length === 1))
  t.same(ask('y'), { value: 'y', problems: [] })
  t.match(ask('yy').problems, [/^APP_A must be one letter \(got "yy"\)$/])
})

t.test('tells every problem at once, in one error', async (t) => {
  const reader = new EnvReader({
    APP_A: 'x',
    APP_B: 'y',
    APP_C: 'z',
    APP_D: 'ok',
    APP_UNKNOWN: '',
    OTHER: 'x',
  })
  reader.int('APP_A', 1)
  reader.choice('APP_B', 'a', ['a'])
  reader.list('APP_C', 'numbers', () => false)
  reader.text('APP_D', '')
  const finish = () => reader.finish('APP_')
  t.throws(finish, SettingsError)
  try {
    finish()
  } catch (error) {
    const { problems = [], message } = error as SettingsError
    t.same(
      [...new Set(problems.map((problem) => problem.split(' ')[0]))],
      ['APP_A', 'APP_B', 'APP_C', 'APP_UNKNOWN'],
    )
    for (const problem of problems) t.ok(message.includes(problem), 'the message says it too')
  }
})

t.test(
  'knows only what was asked for: a misspelt name is a problem, one without the prefix is not',
  async (t) => {
    const { problems } = read({ APP_PROT: '1', APP: 'x', XAPP_A: 'x', PATH: '/' }, (it) =>
      it.int('APP_PORT', 1),
    )
    t.match(problems, [/^APP_PROT is not a setting/])
  },
)
