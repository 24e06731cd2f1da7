/** Where a login may lead: paths of the same host, and nothing else that any browser could make of a text. */

import t from 'tap'
import { toLocalPath } from '../../../auth/login/local-path.ts'
import { HOSTILE_PATHS } from './hostile-paths.ts'

const GOOD = [
  '/',
  '/notes',
  '/notes/1?page=2&sort=%C3%A4',
  '/a/../b',
  '/search?q=https://other.test/',
  '/x?next=//other.test',
  '/x#fragment',
  '/.well-known/change-password',
  '/%2f%2fother.test',
  '/:8080',
  '/@other.test',
  '/;a=b/!$&()*+,=~',
]

t.test('keeps paths of the same host as they are', (t) => {
  for (const text of GOOD) t.equal(toLocalPath(text), text)
  t.end()
})

t.test('leads to the start page instead of any other place', (t) => {
  for (const text of HOSTILE_PATHS) t.equal(toLocalPath(text), '/', encodeURIComponent(text))
  t.equal(toLocalPath(undefined), '/')
  t.end()
})
