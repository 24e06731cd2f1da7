/** What somebody meant to type. */

import t from 'tap'
import { findNearest, meant } from '../../cli/spelling.ts'

const VERBS = ['list', 'show', 'new', 'set', 'start', 'stop', 'delete']

t.test('finds the word that was meant', (t) => {
  const cases = [
    ['lst', 'list'],
    ['lsit', 'list'],
    ['liist', 'list'],
    ['shwo', 'show'],
    ['st', 'start'],
    ['sta', 'start'],
    ['del', 'delete'],
    ['delte', 'delete'],
    ['nwe', 'new'],
  ]
  for (const [typed = '', expected] of cases) t.equal(findNearest(typed, VERBS), expected, typed)
  t.end()
})

t.test('guesses nothing where nothing is near', (t) => {
  for (const typed of ['', 'x', 'frobnicate', 'restart-everything']) {
    t.equal(findNearest(typed, VERBS), undefined, typed)
  }
  t.equal(findNearest('list', []), undefined)
  t.equal(meant('frobnicate', VERBS), '')
  t.equal(meant('lst', VERBS), ' Did you mean "list"?')
  t.end()
})
