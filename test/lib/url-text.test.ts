/** URLs and e-mail addresses in settings, right and wrong ones. */

import t from 'tap'
import { isEmail, isSecureUrl, isSmtpUrl } from '../../lib/url-text.ts'

t.test('a URL is secure with https, or on this machine', (t) => {
  for (const text of [
    'https://ca.example.test/directory',
    'http://localhost:14000/dir',
    'http://127.0.0.1/',
    'http://[::1]:1/',
  ])
    t.ok(isSecureUrl(text), text)
  const wrong = [
    '',
    'http://ca.example.test/',
    'https://u@ca.example.test/',
    'https://ca.example.test/?a',
    'ftp://ca.example.test/',
  ]
  for (const text of [
    ...wrong,
    'https://ca.example.test/#a',
    'http://localhost.example.test/',
    'http://127.0.0.1.example.test/',
  ])
    t.notOk(isSecureUrl(text), text)
  t.end()
})

t.test('a mail server has no password in its URL', (t) => {
  t.ok(isSmtpUrl('smtps://user@mail.example.test'))
  t.notOk(isSmtpUrl('smtps://user:word@mail.example.test'))
  t.notOk(isSmtpUrl('https://mail.example.test'))
  t.end()
})

t.test('an e-mail address has two parts and a dot', (t) => {
  t.ok(isEmail('ann@example.test'))
  for (const text of [
    'ann',
    '@example.test',
    'ann@test',
    'ann@example.',
    'a b@example.test',
    'a,b@example.test',
  ])
    t.notOk(isEmail(text), text)
  t.end()
})
