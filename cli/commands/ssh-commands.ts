/** `landfall tunnel` and `landfall ssh`: ports of VMs as bare bytes, through an edge. */

import type { Duplex } from 'node:stream'
import { path } from '../api.ts'
import { type Command, type CommandContext, command, type Kind } from '../command.ts'
import { findEdgeToken } from '../edge-token.ts'
import { ApiRefusal, CliError, ProgramEnded } from '../errors.ts'
import { FILE, PORT, VM } from '../kinds.ts'
import { pause } from '../pause.ts'
import { runSsh } from '../ssh-program.ts'
import { joinTunnel, openPort, type TunnelTarget, withPortHint } from '../tunnel.ts'
import { textOf } from '../views.ts'

interface Login {
  readonly user: string
  readonly vm: string
}

const SSH_PORT = 22
/** Until the edge that is asked has the port's row. */
const KNOWN_TRIES = 30
const KNOWN_PAUSE_MS = 100
const USER = /^[A-Za-z_][A-Za-z0-9._-]{0,31}$/
/** What ssh takes for a name and nothing else. */
const HOSTNAME = /^[a-z0-9][a-z0-9.-]*$/
const LOGIN: Kind<Login> = {
  placeholder: '[USER@]VM',
  form: 'a VM, or USER@VM',
  names: 'vms',
  find: findLogin,
}
const WORDS: Kind<string> = { placeholder: 'COMMAND', form: 'a text', find: (text) => text }

export const SSH_COMMANDS: readonly Command[] = [
  command('ssh', {
    summary: "Opens a shell in a VM, or runs a command there, with the system's ssh",
    details:
      'The user is root unless given. The host key comes from the table, so that ssh need not ask. What stands behind\n' +
      "the VM is the command, options too. The edge lets in whoever's token has share or admin in the VM's pool, and the\n" +
      'VM whose SSH key it knows. The exit code is that of ssh.',
    arguments: {
      vm: { kind: LOGIN, summary: "The VM's name" },
      words: {
        kind: WORDS,
        summary: 'What to run; a shell when it is left out',
        isOptional: true,
        isRepeated: true,
        isVerbatim: true,
      },
    },
    options: {
      identity: { kind: FILE, summary: 'The private key to use' },
      tty: { summary: 'Gives the command a terminal' },
    },
    examples: [
      'landfall ssh web',
      'landfall ssh web tail -f /var/log/app.log',
      'landfall ssh --tty web htop',
    ],
    run: async (context, { args: { vm, words = [] }, options: { identity, tty } }) => {
      const view = await readVm(context, vm.vm)
      const isTerminalWanted = tty === true
      const code = await runSsh({ ...view, ...vm, words, identity, isTerminalWanted }, context.env)
      if (code !== 0) throw new ProgramEnded(code)
    },
  }),
  command('tunnel', {
    summary: 'Joins standard input and output to a port of a VM',
    details:
      "It goes by CONNECT over HTTPS, through the edge that serves the VM's URL, to port 22 unless another is given.\n" +
      "A private port takes a token with share or admin in the VM's pool. Made for programs: OpenSSH takes it as\n" +
      'ProxyCommand.',
    arguments: {
      vm: { kind: VM, summary: "The VM's name" },
      port: {
        kind: PORT,
        summary: 'A port that the edge lets through: 22, or another of LANDFALL_TUNNEL_PORTS',
        isOptional: true,
      },
    },
    examples: ["scp -o ProxyCommand='landfall tunnel web' file root@web:"],
    run: async (context, { args: { vm, port = SSH_PORT } }) => {
      const { url, pool } = await readVm(context, vm)
      const connection = await context.getConnection()
      const { ca } = connection
      const token = await findEdgeToken(connection, url, context)
      const { signal, stdin, output } = context
      try {
        const tunnel = await openKnownPort(context, vm, {
          url,
          port,
          token,
          signal,
          ...(ca !== undefined && { ca }),
        })
        await joinTunnel(tunnel, { stdin, stdout: output.bytes, signal })
      } catch (error) {
        throw withPortHint(error, { vm, pool, port })
      }
    },
  }),
]

/** SSH takes no word about ports before: 22 becomes known when it is first asked for, private as a port is. */
async function openKnownPort(context: CommandContext, vm: string, target: TunnelTarget): Promise<Duplex> {
  try {
    return await openPort(target)
  } catch (error) {
    if (target.port !== SSH_PORT || !isUnknownPort(error) || !(await makePortKnown(context, vm))) throw error
  }
  for (let triesLeft = KNOWN_TRIES; ; triesLeft -= 1) {
    try {
      return await openPort(target)
    } catch (error) {
      if (triesLeft === 0 || !isUnknownPort(error)) throw error
      await pause(KNOWN_PAUSE_MS, context.signal)
    }
  }
}

function isUnknownPort(error: unknown): boolean {
  return error instanceof ApiRefusal && error.code === 'route_port_unknown'
}

/** False where the token may not: then the first refusal says what is to be done. */
async function makePortKnown({ api }: CommandContext, vm: string): Promise<boolean> {
  const target = path`/v1/vms/${vm}/ports/${SSH_PORT}`
  try {
    await api.call({ method: 'PUT', path: target, body: { visibility: 'private' }, isNew: true })
    return true
  } catch (error) {
    if (error instanceof ApiRefusal) return false
    throw error
  }
}

async function readVm({ api }: CommandContext, vm: string) {
  const view = await api.call({ method: 'GET', path: path`/v1/vms/${vm}` })
  const hostname = textOf(view, 'hostname')
  const url = textOf(view, 'url')
  const isSound = HOSTNAME.test(hostname) && URL.parse(url)?.hostname === hostname
  if (!isSound)
    throw new CliError('cli_answer_unreadable', { detail: 'The VM has no host name that ssh can use.' })
  const hostKey = textOf(view, 'report.hostKey')
  return { url, hostname, pool: textOf(view, 'pool'), hostKey: hostKey === '' ? undefined : hostKey }
}

function findLogin(text: string): Login | undefined {
  const at = text.lastIndexOf('@')
  const [user, vm] = at < 0 ? ['root', text] : [text.slice(0, at), text.slice(at + 1)]
  return USER.test(user) && VM.find(vm) !== undefined ? { user, vm } : undefined
}
