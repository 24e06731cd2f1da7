/** The commands about pools, tokens, keys and the processes of a fleet, each tried once. */

import type { CommandCase } from './command-case.ts'

const PUT_POOL = { cpuMillis: 2_000, memoryBytes: 4_294_967_296, diskBytes: 21_474_836_480 }

export const PLATFORM_CASES: readonly CommandCase[] = [
  {
    line: 'pool list',
    sent: [['GET', '/v1/pools']],
    stdout:
      /^NAME {2}CPUS {2}MEMORY {2}DISK {5}HOST {3}AGE\nweb {3}1\.5 {3}8 GiB {3}100 GiB {2}local {2}\d+d\n$/,
  },
  {
    line: 'pool show web',
    sent: [['GET', '/v1/pools/web']],
    stdout:
      /^name +web\ncpus +1\.5\nmemory +8 GiB\ndisk +100 GiB\nhost +local\ncreated +2026-01-31T12:00:00Z\n$/,
  },
  {
    line: 'pool new web --cpus 2 --memory 4G --disk 20G',
    sent: [['PUT', '/v1/pools/web', PUT_POOL]],
    stdout: 'web\n',
    stderr: 'pool web: 2 CPUs, 4 GiB, disk 20 GiB, on host local\n',
  },
  {
    line: 'pool set web --owner ann --io 100M',
    sent: [
      ['GET', '/v1/pools/web'],
      [
        'PUT',
        '/v1/pools/web',
        {
          ...{ cpuMillis: 1_500, memoryBytes: 8_589_934_592, diskBytes: 107_374_182_400 },
          ...{ ioBytesPerSecond: 104_857_600, owner: 'ann', host: 'local' },
        },
      ],
    ],
  },
  {
    line: 'pool set web --memory 16G',
    sent: [
      ['GET', '/v1/pools/web'],
      [
        'PUT',
        '/v1/pools/web',
        { cpuMillis: 1_500, memoryBytes: 17_179_869_184, diskBytes: 107_374_182_400, host: 'local' },
      ],
    ],
    stdout: 'web\n',
  },
  { line: 'pool delete web', sent: [['DELETE', '/v1/pools/web']], stderr: 'deleted web\n' },
  {
    line: 'pool usage web --from 2026-01-01 --to 2026-02-01',
    sent: [['GET', '/v1/pools/web/usage']],
    stdout:
      /^web \(UTC\) +CPU h {2}MEMORY GiB·h +DISK +REPLICATED +EGRESS +REQUESTS\n2026-01-31T12:00:00Z +1 +2 +1 KiB +0 B +2 KiB +1,234\ntotal +1 +2 +1 KiB +0 B +2 KiB +1,234\n$/,
  },
  { line: 'usage web', sent: [['GET', '/v1/pools/web/usage']], stdout: /total +1 / },
  { line: 'token list', sent: [['GET', '/v1/tokens']], stdout: /abc +deploy +web:read,write/ },
  { line: 'token show abc', sent: [['GET', '/v1/tokens/abc']], stdout: /scopes +web:read,write/ },
  {
    line: 'token new --scope web:read,write --label deploy',
    sent: [['POST', '/v1/tokens', { label: 'deploy', scopes: [{ pool: 'web', verbs: ['read', 'write'] }] }]],
    stdout: 'lf_the_token\n',
    stderr: 'token abc: web:read,write; it is not shown again\n',
  },
  {
    line: 'token bootstrap',
    sent: [
      [
        'POST',
        '/v1/tokens',
        { label: 'operator', scopes: [{ pool: '*', verbs: ['read', 'write', 'share', 'admin'] }] },
      ],
    ],
    stdout: 'lf_the_token\n',
  },
  { line: 'token delete abc', sent: [['DELETE', '/v1/tokens/abc']] },
  { line: 'key list', sent: [['GET', '/v1/keys']], stdout: /k1 +ann +ssh-ed25519 +laptop/ },
  { line: 'key show k1', sent: [['GET', '/v1/keys/k1']], stdout: /public key +ssh-ed25519 AAAA/ },
  { line: 'key delete k1', sent: [['DELETE', '/v1/keys/k1']] },
  {
    line: 'session list --user ann',
    sent: [['GET', '/v1/sessions']],
    stdout:
      /^ID +USER +EMAIL +METHOD +EXPIRES +AGE\ns1 +https:\/\/id\.example\.test\/ann +ann@example\.org +oidc +2027-01-01T00:00:00Z +\d+d\n$/,
  },
  { line: 'session end s1', sent: [['DELETE', '/v1/sessions/s1']], stderr: 'ended s1\n' },
  {
    line: 'user end https://id.example.test/ann',
    sent: [['DELETE', '/v1/users/https%3A%2F%2Fid.example.test%2Fann/sessions']],
    stderr:
      'ended every login of https://id.example.test/ann; 2 SSH keys of theirs stay: --keys removes them too\n',
  },
  { line: 'host list', sent: [['GET', '/v1/hosts']], stdout: /local +yes +4 +8 GiB +0 B +0\.1\.0 +\d+d/ },
  { line: 'host show local', sent: [['GET', '/v1/hosts/local']], stdout: /images +hello/ },
  { line: 'host delete local', sent: [['DELETE', '/v1/hosts/local']] },
  { line: 'edge list', sent: [['GET', '/v1/edges']], stdout: /edge-1 +no +0\.1\.0/ },
  { line: 'edge show edge-1', sent: [['GET', '/v1/edges/edge-1']], stdout: /alive +no/ },
  { line: 'edge delete edge-1', sent: [['DELETE', '/v1/edges/edge-1']] },
  {
    line: 'audit list --since 7d --pool p',
    sent: [['GET', '/v1/audit']],
    stdout: /2026-01-31T12:00:00Z +abc +create +vm\/web +p +r1/,
  },
  {
    line: 'status',
    sent: [['GET', '/v1/status']],
    stdout:
      'store   isReachable yes, revision 12\ntable   revision 12, refused (count 0)\ncounts  pools 1, vms 2\nhosts   alive 1, dead 0\n',
  },
  { line: 'table accept --yes', sent: [['POST', '/v1/table/accept']], stderr: /^accepted/ },
  {
    line: 'whoami',
    sent: [['GET', '/v1/whoami']],
    stdout: /id +abc\nscopes +web:read,write\napi +https:\/\/admin\.localhost:\d+\nfrom +LANDFALL_API\n/,
  },
]
