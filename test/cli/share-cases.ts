/** The commands that let people and programs into a VM, each tried once. */

import type { CommandCase } from './command-case.ts'

const EXPIRES = '2027-01-01T00:00:00.000Z'
const THUMBPRINT = 'a'.repeat(43)

export const SHARE_CASES: readonly CommandCase[] = [
  {
    line: 'link make web --expires 2027-01-01',
    sent: [['POST', '/v1/vms/web/links', { expiresAt: EXPIRES, needsLogin: true, isSingleUse: false }]],
    stdout: 'https://web.example.test/.landfall/share?link=eyJh\n',
    stderr: `link l1 lets whoever has the URL and logs in into web until ${EXPIRES}; it is not shown again\n`,
  },
  {
    line: 'link make web --expires 2027-01-01 --port 3000 --no-login --once --label Ann',
    sent: [
      [
        'POST',
        '/v1/vms/web/links',
        { expiresAt: EXPIRES, needsLogin: false, isSingleUse: true, port: 3_000, label: 'Ann' },
      ],
    ],
    stderr: /lets whoever has the URL into web until/,
  },
  {
    line: 'link make web --expires 2027-01-01 --port 3000 --host www.example.org',
    sent: [
      [
        'POST',
        '/v1/vms/web/links',
        {
          ...{ expiresAt: EXPIRES, needsLogin: true, isSingleUse: false },
          ...{ hostname: 'www.example.org', ports: [3_000] },
        },
      ],
    ],
  },
  {
    line: 'link list web',
    sent: [['GET', '/v1/vms/web/links']],
    stdout:
      /^ID +LABEL +PORTS +LOGIN +ONCE +USES +EXPIRES +AGE\nl1 +for Ann +3000 +no +yes +0 +2027\S+ +\d+d\nl2 +for Ann +3000 +yes +no +3 /,
  },
  {
    line: 'link show web l1',
    sent: [['GET', '/v1/vms/web/links/l1']],
    stdout: /host +web\.example\.test\nports +3000\nlogin +no\nonce +yes\nuses +0\nexpires/,
  },
  {
    line: 'link delete web l1',
    sent: [['DELETE', '/v1/vms/web/links/l1']],
    stderr: 'deleted l1\n',
  },
  {
    line: 'vm-token make web --expires 2027-01-01',
    sent: [['POST', '/v1/vms/web/tokens', { expiresAt: EXPIRES }]],
    stdout: 'eyJh.eyJh.c2ln\n',
    stderr: `token t1 for web.example.test until ${EXPIRES}; it is not shown again\n`,
  },
  {
    line: `vm-token make web --expires 2027-01-01 --port 80 --port 81 --method get --method HEAD --path /api --ctx {"a":1} --label ci --key-thumbprint ${THUMBPRINT}`,
    sent: [
      [
        'POST',
        '/v1/vms/web/tokens',
        {
          ...{ expiresAt: EXPIRES, label: 'ci', ports: [80, 81], methods: ['GET', 'HEAD'] },
          ...{ pathPrefix: '/api', ctx: '{"a":1}', proofThumbprint: THUMBPRINT },
        },
      ],
    ],
    stdout: 'eyJh.eyJh.c2ln\n',
  },
  {
    line: 'vm-token make web --expires 2027-01-01 --port 3000',
    sent: [['POST', '/v1/vms/web/tokens', { expiresAt: EXPIRES, port: 3_000 }]],
  },
  {
    line: 'vm-token list web',
    sent: [['GET', '/v1/vms/web/tokens']],
    stdout:
      /^ID +LABEL +HOST +PORTS +METHODS +PATHS +EXPIRES +AGE\nt1 +ci +web\.example\.test +default +GET,HEAD +\/api +2027\S+ +\d+d\nt2 .* 80 +all +\/api /,
  },
  {
    line: 'vm-token show web t1',
    sent: [['GET', '/v1/vms/web/tokens/t1']],
    stdout: /ctx +job 7\nexpires/,
  },
  { line: 'vm-token delete web t1', sent: [['DELETE', '/v1/vms/web/tokens/t1']] },
]
