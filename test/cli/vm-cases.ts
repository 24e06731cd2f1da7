/** The commands about VMs, their ports and grants, each tried once. */

import type { CommandCase } from './command-case.ts'

export const VM_CASES: readonly CommandCase[] = [
  {
    line: 'vm list --pool p',
    sent: [['GET', '/v1/vms']],
    stdout:
      /^NAME +STATE +POOL +IMAGE +URL +AGE +COMMENT\nweb +running +p +hello +https:\/\/web\.example\.test\/ +\d+d +the shop\ndb +stopped .*\\u\{1b\}\[31mred\n$/,
  },
  {
    line: 'vm show web',
    sent: [['GET', '/v1/vms/web']],
    stdout:
      /name +web\nstate +running\nurl +https:\/\/web.example.test\/\n[\s\S]*ports +8000 public\nopen +8000\n[\s\S]*generation +2\n/,
  },
  {
    line: 'vm set web --image other --comment=',
    sent: [
      ['GET', '/v1/vms/web'],
      ['PUT', '/v1/vms/web', { image: 'other', comment: '' }],
    ],
    stdout: 'web\n',
    stderr: 'vm web: running\n',
  },
  {
    line: 'vm start web --timeout 5s',
    sent: [
      ['GET', '/v1/vms/web'],
      ['PUT', '/v1/vms/web', { state: 'running' }],
    ],
    stdout: 'web\n',
    stderr: /vm web: running\n$/,
  },
  {
    line: 'vm stop web',
    sent: [
      ['GET', '/v1/vms/web'],
      ['PUT', '/v1/vms/web', { state: 'stopped' }],
    ],
    stdout: 'web\n',
    stderr: /vm web: stopping\n$/,
  },
  {
    line: 'vm delete web db',
    sent: [
      ['DELETE', '/v1/vms/web'],
      ['DELETE', '/v1/vms/db'],
    ],
    stderr: 'deleted web\ndeleted db\n',
  },
  {
    line: 'port list web',
    sent: [['GET', '/v1/vms/web/ports']],
    stdout: /^PORT +VISIBILITY +DEFAULT +OPEN +URL\n80 +public +yes +yes +https.*\n81 +private +no\n$/,
  },
  {
    line: 'port set web 3000 --public --default',
    sent: [['PUT', '/v1/vms/web/ports/3000', { visibility: 'public', isDefault: true }]],
    stdout: 'https://3000--web.example.test/\n',
    stderr: 'port 3000 of web is public\n',
  },
  {
    line: 'port set web 3000 --private',
    sent: [['PUT', '/v1/vms/web/ports/3000', { visibility: 'private' }]],
  },
  {
    line: 'port delete web 3000',
    sent: [['DELETE', '/v1/vms/web/ports/3000']],
    stderr: 'deleted web:3000\n',
  },
  {
    line: 'grant list web',
    sent: [['GET', '/v1/vms/web/grants']],
    stdout: /g1 +email:ann@example\.org +viewer +80,81 +2027-01-01T00:00:00Z\ng2 .* default /,
  },
  {
    line: 'grant add web ann@example.org --port 80 --port 81 --expires 2027-01-01',
    sent: [
      [
        'POST',
        '/v1/vms/web/grants',
        {
          to: { kind: 'email', value: 'ann@example.org' },
          role: 'viewer',
          ports: [80, 81],
          expiresAt: '2027-01-01T00:00:00.000Z',
        },
      ],
    ],
    stdout: 'g1\n',
    stderr: 'email:ann@example.org may reach web as viewer until 2027-01-01T00:00:00.000Z\n',
  },
  {
    line: 'grant add web user:u1 --role root',
    sent: [['POST', '/v1/vms/web/grants', { to: { kind: 'user', value: 'u1' }, role: 'root' }]],
  },
  { line: 'grant delete web g1', sent: [['DELETE', '/v1/vms/web/grants/g1']] },
]
