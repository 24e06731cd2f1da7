/** The table of all commands, and what each noun is. */

import type { Command } from './command.ts'
import { CERTIFICATE_COMMANDS } from './commands/certificate-commands.ts'
import { DOMAIN_COMMANDS } from './commands/domain-commands.ts'
import { EVENT_COMMANDS } from './commands/event-commands.ts'
import { GRANT_COMMANDS } from './commands/grant-commands.ts'
import { IMAGE_COMMANDS } from './commands/image-commands.ts'
import { INFO_COMMANDS } from './commands/info-commands.ts'
import { KEY_COMMANDS } from './commands/key-commands.ts'
import { LINK_COMMANDS } from './commands/link-commands.ts'
import { LOGIN_COMMANDS } from './commands/login-commands.ts'
import { MACHINE_COMMANDS } from './commands/machine-commands.ts'
import { POOL_COMMANDS } from './commands/pool-commands.ts'
import { PORT_COMMANDS } from './commands/port-commands.ts'
import { ROUTE_COMMANDS } from './commands/route-commands.ts'
import { SESSION_COMMANDS } from './commands/session-commands.ts'
import { SNAPSHOT_COMMANDS } from './commands/snapshot-commands.ts'
import { SSH_COMMANDS } from './commands/ssh-commands.ts'
import { STATUS_COMMANDS } from './commands/status-commands.ts'
import { TOKEN_COMMANDS } from './commands/token-commands.ts'
import { VM_CALL_COMMANDS } from './commands/vm-call-commands.ts'
import { VM_COMMANDS } from './commands/vm-commands.ts'
import { VM_TOKEN_COMMANDS } from './commands/vm-token-commands.ts'
import type { Nouns } from './help.ts'

/** What main.ts runs by itself: it is here for help, completion and spelling. */
const PROCESSES: readonly Command[] = [
  ['dev', 'Runs everything in one process: an edge, a host with the VM "hello", the admin API'],
  ['edge', 'Runs an edge of a fleet'],
  ['host', 'Runs a host of a fleet'],
].map(([word = '', summary = '']) => ({
  words: [word],
  summary,
  details: 'It runs until SIGINT or SIGTERM. README.md lists its settings, LANDFALL_… in the environment.',
  arguments: {},
  options: {},
}))

export const COMMANDS: readonly Command[] = [
  ...VM_COMMANDS,
  ...VM_CALL_COMMANDS,
  ...SNAPSHOT_COMMANDS,
  ...SSH_COMMANDS,
  ...PORT_COMMANDS,
  ...GRANT_COMMANDS,
  ...LINK_COMMANDS,
  ...VM_TOKEN_COMMANDS,
  ...ROUTE_COMMANDS,
  ...DOMAIN_COMMANDS,
  ...CERTIFICATE_COMMANDS,
  ...POOL_COMMANDS,
  ...TOKEN_COMMANDS,
  ...KEY_COMMANDS,
  ...SESSION_COMMANDS,
  ...MACHINE_COMMANDS,
  ...IMAGE_COMMANDS,
  ...EVENT_COMMANDS,
  ...STATUS_COMMANDS,
  ...LOGIN_COMMANDS,
  ...PROCESSES,
  ...INFO_COMMANDS,
]

export const NOUNS: Nouns = {
  vm: 'VMs: each has a name, a URL and ports',
  snapshot: "VMs' disks as they were",
  ssh: 'a shell in a VM',
  tunnel: 'a port of a VM as bare bytes',
  port: 'ports of VMs: public or private',
  grant: 'who else may reach a VM',
  link: 'URLs that let people into a VM',
  'vm-token': 'tokens that let programs into a VM',
  route: 'host names and where they lead',
  domain: 'host names of your own',
  pool: 'what is bought: CPU, memory and disk',
  usage: 'what a pool used',
  token: 'who may call the API; sign: who one is, by SSH key',
  key: "users' public SSH keys",
  session: 'who is logged in with a browser',
  user: 'the end of all that a user has',
  host: 'machines that run VMs; without a verb: runs one',
  edge: 'processes that take requests; without a verb: runs one',
  image: 'what VMs of this machine boot',
  status: 'how the platform is',
  events: 'changes as they happen',
  audit: 'who changed what',
  table: 'the routing table of the edges',
  login: 'keeps an address and a token',
  logout: 'forgets them',
  whoami: 'which API is used, and as whom',
  dev: 'runs everything in one process',
  completion: 'completion for a shell',
  help: 'says more',
  version: 'says which version this is',
}
