/** Which routes a CONNECT can have: ports of VMs that have a row, and nothing else. */

import t from 'tap'
import { getConnectRoute } from '../../proxy/connect-route.ts'
import type { RelayRoute } from '../../proxy/upstream.ts'
import { fakeExchange } from './fake-exchange.ts'

const BASE = { visibility: 'public', state: 'running', generation: 1 }
const ROWS: readonly RelayRoute[] = [
  { ...BASE, hostname: 'amber.localhost', vm: 'amber', port: 80 },
  { ...BASE, hostname: '22--amber.localhost', vm: 'amber', port: 22 },
  { ...BASE, hostname: 'birch.localhost', vm: 'birch', port: 22 },
  { ...BASE, hostname: 'bare.localhost', upstream: { host: '10.0.0.9', port: 22 } },
  { ...BASE, hostname: '22--bare.localhost', upstream: { host: '10.0.0.9', port: 22 } },
  { ...BASE, hostname: 'cedar.localhost', vm: 'cedar', port: 80 },
  { ...BASE, hostname: '22--cedar.localhost', vm: 'amber', port: 22 },
  { ...BASE, hostname: 'dove.localhost', vm: 'dove', port: 80 },
  { ...BASE, hostname: '22--dove.localhost', vm: 'dove', port: 80 },
  { ...BASE, hostname: '22--127.0.0.1', vm: 'amber', port: 22 },
]
const routes = { find: (name: string) => ROWS.find(({ hostname }) => hostname === name) }

function find(host: string, tunnelPorts = new Set([22])): string {
  return getConnectRoute(fakeExchange({ isConnect: true, host }), { routes, tunnelPorts }).hostname
}

t.test('finds the row of the port, or the bare one whose default port it is', async (t) => {
  t.equal(find('amber.localhost:22'), '22--amber.localhost')
  t.equal(find('AMBER.localhost.:22'), '22--amber.localhost')
  t.equal(find('birch.localhost:22'), 'birch.localhost')
  t.equal(find('22--amber.localhost:22'), '22--amber.localhost', 'the name of a port leads to that port')
})

t.test('refuses everything else', async (t) => {
  const cases: [string, string][] = [
    ['stranger.localhost:22', 'route_unknown'],
    ['127.0.0.1:22', 'route_unknown'],
    ['[::1]:22', 'route_unknown'],
    ['localhost:22', 'route_unknown'],
    ['amber.localhost:80', 'route_port_web'],
    ['amber.localhost:443', 'route_port_web'],
    ['22--amber.localhost:80', 'route_port_web'],
    ['amber.localhost', 'route_port_web'],
    ['bare.localhost:22', 'route_port_unknown'],
    ['22--bare.localhost:22', 'route_port_unknown'],
    ['cedar.localhost:22', 'route_port_unknown'],
    ['dove.localhost:22', 'route_port_unknown'],
  ]
  for (const [host, code] of cases) t.throws(() => find(host), { code }, host)
})

t.test('lets through other ports that the operator named, where they have a row', async (t) => {
  const ports = new Set([22, 80, 5_432])
  t.equal(find('amber.localhost:80', ports), 'amber.localhost')
  t.throws(() => find('amber.localhost:5432', ports), { code: 'route_port_unknown' })
})
