/** The host that a request names: one canonical form, and a refusal for all that two parsers could read differently. */

import { asyncProperty, string } from 'fast-check'
import t from 'tap'
import { parseAuthority } from '../../proxy/authority.ts'
import { RelayError } from '../../proxy/errors.ts'
import { fuzzFor } from '../helpers/fuzz.ts'

const VALID: readonly (readonly [text: string, host: string, port?: number])[] = [
  ['example.test', 'example.test'],
  ['Example.TEST', 'example.test'],
  ['example.test.', 'example.test'],
  ['example.test:443', 'example.test', 443],
  ['example.test.:8443', 'example.test', 8_443],
  ['localhost:1', 'localhost', 1],
  ['localhost:65535', 'localhost', 65_535],
  ['3000--hello.example.test', '3000--hello.example.test'],
  ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
  ['_service.example', '_service.example'],
  ['127.0.0.1:8080', '127.0.0.1', 8_080],
  ['[::1]', '[::1]'],
  ['[2001:DB8::1]:443', '[2001:db8::1]', 443],
]

t.test('reads a host in lower case without its final dot, and the port', async (t) => {
  for (const [text, host, port] of VALID) t.same(parseAuthority(text), { text, host, port }, text)
})

const INVALID: readonly (readonly [name: string, text: string])[] = [
  ['nothing', ''],
  ['a dot', '.'],
  ['a space', ' '],
  ['a space before', ' example.test'],
  ['a space behind', 'example.test '],
  ['a space inside', 'exam ple.test'],
  ['two hosts', 'a.test, b.test'],
  ['a user', 'user@example.test'],
  ['a user with a password', 'user:secret@example.test'],
  ['a path', 'example.test/path'],
  ['a query', 'example.test?x'],
  ['a fragment', 'example.test#x'],
  ['a backslash', 'example.test\\x'],
  ['a percent sign', 'ex%61mple.test'],
  ['a scheme', 'http://example.test'],
  ['bytes above ASCII', 'b\xfccher.test'],
  ['NUL', 'example.test\0'],
  ['CR', 'example.test\r'],
  ['LF', 'example.test\n'],
  ['LF and a second host', 'example.test\nb.test'],
  ['a label without a letter', 'a..test'],
  ['a dot first', '.example.test'],
  ['two dots last', 'example.test..'],
  ['a hyphen first', '-example.test'],
  ['a hyphen last', 'example.test-'],
  ['a wildcard', '*.example.test'],
  ['a colon without a port', 'example.test:'],
  ['a port without a host', ':443'],
  ['port 0', 'example.test:0'],
  ['a port beyond 65535', 'example.test:65536'],
  ['a long port', 'example.test:99999999999'],
  ['a negative port', 'example.test:-1'],
  ['a port in letters', 'example.test:http'],
  ['two ports', 'example.test:80:80'],
  ['a space before the port', 'example.test: 80'],
  ['IPv6 without brackets', '::1'],
  ['a bracket that does not close', '[::1'],
  ['empty brackets', '[]'],
  ['brackets around a name', '[example.test]'],
  ['brackets around what is no address', '[1:2:3]'],
  ['a zone', '[fe80::1%25eth0]'],
  ['text behind brackets', '[::1]x'],
  ['a host of 300 characters', `${'a'.repeat(60)}.`.repeat(5)],
]

t.test('refuses', async (t) => {
  for (const [name, text] of INVALID) t.throws(() => parseAuthority(text), { code: 'request_host' }, name)
})

t.test('gives every text one host or a refusal, and that host is its own canonical form', async (t) => {
  const unit = string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 2 })
  const isCanonical = asyncProperty(string({ unit, maxLength: 12 }), async (text) => {
    const authority = parse(text)
    if (authority === undefined) return
    const again = parse(authority.host)
    if (again?.host !== authority.host) throw new Error(`${text} → ${authority.host} → ${again?.host}`)
  })
  await fuzzFor(t, { seconds: 0.5 }).holds(t, isCanonical, 1)
})

function parse(text: string) {
  try {
    return parseAuthority(text)
  } catch (error) {
    if (error instanceof RelayError && error.code === 'request_host') return undefined
    throw error
  }
}
