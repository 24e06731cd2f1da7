/** The commands about host names, each tried once. */

import type { CommandCase } from './command-case.ts'

export const NAME_CASES: readonly CommandCase[] = [
  {
    line: 'route list --vm web',
    sent: [['GET', '/v1/routes']],
    stdout: /a\.example\.test +web:80 +public +running\nb\.example\.test +127\.0\.0\.1:9000 +private/,
  },
  {
    line: 'route show a.example.test',
    sent: [['GET', '/v1/routes/a.example.test']],
    stdout: /generation +3\n/,
  },
  {
    line: 'route set a.example.test --vm web --port 80',
    sent: [['PUT', '/v1/routes/a.example.test', { vm: 'web', port: 80 }]],
    stdout: 'a.example.test\n',
    stderr: 'a.example.test leads to web:80\n',
  },
  {
    line: 'route set a.example.test --upstream 127.0.0.1:9000 --public',
    sent: [['PUT', '/v1/routes/a.example.test', { upstream: '127.0.0.1:9000', visibility: 'public' }]],
  },
  { line: 'route delete a.example.test', sent: [['DELETE', '/v1/routes/a.example.test']] },
  { line: 'domain list', sent: [['GET', '/v1/domains']], stdout: /www\.example\.org +web +pending/ },
  {
    line: 'domain show www.example.org',
    sent: [['GET', '/v1/domains/www.example.org']],
    stdout: /last error +There is no TXT record\./,
    stderr:
      /_landfall-challenge\.www\.example\.org +TXT +ch4llenge\n +www\.example\.org +CNAME +web\.example\.test/,
  },
  {
    line: 'domain add www.example.org web --port 80',
    sent: [['PUT', '/v1/domains/www.example.org', { vm: 'web', port: 80 }]],
    stderr: /Set one of these in DNS/,
  },
  {
    line: 'domain add www.example.org web --proven',
    sent: [['PUT', '/v1/domains/www.example.org', { vm: 'web', proof: 'operator' }]],
  },
  {
    line: 'domain add www.example.org web --wait',
    sent: [
      ['PUT', '/v1/domains/www.example.org', { vm: 'web' }],
      ['POST', '/v1/domains/www.example.org/check'],
    ],
    stdout: /state +proven\nproof +txt\nurl +https/,
    stderr: /Set one of these in DNS/,
  },
  {
    line: 'domain check www.example.org',
    sent: [
      ['POST', '/v1/domains/www.example.org/check'],
      ['GET', '/v1/certificates/www.example.org'],
    ],
    stdout:
      /proven[\s\S]*\nright +route +Requests are served here\.\nwaiting +dns +It leads \\u\{1b\}\[31mhere\\u\{a\}soon\.\n {22}next: Wait\.\nright +certificate +ec/,
    stderr: '',
  },
  {
    line: 'domain certificate show www.example.org',
    sent: [['GET', '/v1/certificates/www.example.org']],
    stdout:
      /^KEY +SOURCE +ISSUER +ENDS +RENEWED +FINGERPRINT\nec +acme +CN=E1 +2027-01-01T00:00:00Z +2026-12-01T00:00:00Z +AA:BB\nright +route/,
  },
  {
    line: 'domain certificate renew www.example.org',
    sent: [['POST', '/v1/certificates/www.example.org/renew']],
    stdout: 'www.example.org\n',
    stderr: /landfall domain check www\.example\.org/,
  },
  {
    line: 'domain certificate remove www.example.org',
    sent: [['DELETE', '/v1/certificates/www.example.org']],
    stderr: 'deleted www.example.org\n',
  },
  { line: 'domain delete www.example.org', sent: [['DELETE', '/v1/domains/www.example.org']] },
]
