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
    line: 'vm set web --cpus 2 --memory 512M --disk 20G --weight 200 --egress none --suspend-after 10m',
    sent: [
      ['GET', '/v1/vms/web'],
      [
        'PUT',
        '/v1/vms/web',
        {
          ...{ cpus: 2, memoryBytes: 536_870_912, diskBytes: 21_474_836_480 },
          ...{ weight: 200, egress: 'none', suspendAfterSeconds: 600 },
        },
      ],
    ],
    stdout: 'web\n',
  },
  {
    line: 'vm set web --suspend-after never',
    sent: [
      ['GET', '/v1/vms/web'],
      ['PUT', '/v1/vms/web', { suspendAfterSeconds: 0 }],
    ],
  },
  {
    line: 'vm restart web --timeout 5s',
    sent: [['POST', '/v1/vms/web/restart']],
    stdout: 'web\n',
    stderr: 'vm web: running\n',
  },
  {
    line: 'vm suspend web',
    sent: [['POST', '/v1/vms/web/suspend']],
    stdout: 'web\n',
    stderr: 'vm web: asleep\n',
  },
  { line: 'vm wake web', sent: [['POST', '/v1/vms/web/wake']], stderr: 'vm web: running\n' },
  {
    line: 'snapshot make web --label before',
    sent: [['POST', '/v1/vms/web/snapshots', { label: 'before' }]],
    stdout: '0f3a9c21be44\n',
    stderr: 'snapshot 0f3a9c21be44 of web is ready\n',
  },
  {
    line: 'snapshot list web',
    sent: [['GET', '/v1/vms/web/snapshots']],
    stdout:
      /^ID +STATE +KIND +SIZE +AGE +LABEL +MESSAGE\n0f3a9c21be44 +ready +made +1 MiB +\d+d +before\nf00 +wanted +kept /,
  },
  {
    line: 'snapshot restore web 0f3a9c21be44',
    sent: [['POST', '/v1/vms/web/restore', { snapshot: '0f3a9c21be44' }]],
    stdout: 'f00\n',
    stderr: 'vm web: running, as in 0f3a9c21be44; what it was before is f00\n',
  },
  {
    line: 'snapshot delete web f00 f01',
    sent: [
      ['DELETE', '/v1/vms/web/snapshots/f00'],
      ['DELETE', '/v1/vms/web/snapshots/f01'],
    ],
    stderr: 'deleted f00\ndeleted f01\n',
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
    stdout:
      /^PORT +VISIBILITY +DEFAULT +AUTHORIZATION +OPEN +URL\n80 +public +yes +edge +yes +https.*\n81 +private +app +no\n$/,
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
    line: 'port set web 3000 --private --authorization app',
    sent: [['PUT', '/v1/vms/web/ports/3000', { visibility: 'private', authorization: 'app' }]],
    stderr: 'port 3000 of web is private, and its app reads Authorization itself\n',
  },
  {
    line: 'port set web 3000 --private --authorization edge',
    sent: [['PUT', '/v1/vms/web/ports/3000', { visibility: 'private' }]],
    stderr: 'port 3000 of web is private\n',
  },
  {
    line: 'port delete web 3000',
    sent: [['DELETE', '/v1/vms/web/ports/3000']],
    stderr: 'deleted web:3000\n',
  },
  {
    line: 'grant list web',
    sent: [['GET', '/v1/vms/web/grants']],
    stdout: new RegExp(
      [
        '^ID +WHOM +ROLE +PORTS +KIND +EXPIRES +LABEL',
        'g1 +email:ann@example\\.org +viewer +80,81 +grant +2027-01-01T00:00:00Z',
        'g2 .* default +grant .* the auditor',
        'g3 +user:bob .* by link l1 .*',
        't1 +token:t1 .* vm-token .* ci',
        'l1 +link:l1 .* link .* for Ann',
        'l2 .* closed link .*\n$',
      ].join('\n'),
    ),
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
  {
    line: 'grant add web vm:db --port 5432',
    sent: [
      ['POST', '/v1/vms/web/grants', { to: { kind: 'vm', value: 'db' }, role: 'viewer', ports: [5_432] }],
    ],
  },
  {
    line: 'grant add web user:u1 --label ops',
    sent: [
      ['POST', '/v1/vms/web/grants', { to: { kind: 'user', value: 'u1' }, role: 'viewer', label: 'ops' }],
    ],
  },
  { line: 'grant delete web g1', sent: [['DELETE', '/v1/vms/web/grants/g1']] },
]
