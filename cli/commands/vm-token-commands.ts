/** `landfall vm-token`: tokens that let programs reach one VM. */

import { printDeleted, printListing, printRecord, printWritten } from '../answers.ts'
import { path } from '../api.ts'
import { type Command, command } from '../command.ts'
import { EXPIRY, HOSTNAME, ID, PORT, TEXT } from '../kinds.ts'
import { age, type Column, end, joined, plain, textOf } from '../views.ts'
import { toAudience } from './audience.ts'
import { LIMIT_OPTIONS } from './token-limits.ts'
import { VM_ARGUMENT } from './vm-commands.ts'

const ID_ARGUMENT = { kind: ID, summary: 'The id that "vm-token list" shows' } as const
const PORTS = joined('PORTS', 'ports', 'default')
const METHODS = joined('METHODS', 'methods', 'all')
const PATHS: Column = { title: 'PATHS', of: (view) => textOf(view, 'pathPrefix') || 'all' }

export const VM_TOKEN_COMMANDS: readonly Command[] = [
  command('vm-token make', {
    summary: 'Makes a token that lets a program reach a VM, and prints it, this once',
    details:
      'It is sent as "X-Landfall-Authorization: Bearer TOKEN", as "Authorization: Bearer TOKEN", or by git as the\n' +
      'password. It lets nobody into other VMs, nor into the API.',
    arguments: { vm: VM_ARGUMENT },
    options: {
      expires: { kind: EXPIRY, summary: 'When it ends, as 30d or a moment', isRequired: true },
      label: { kind: TEXT, summary: 'What it is for' },
      host: { kind: HOSTNAME, summary: "The one host name of the VM that it is for, else the VM's own" },
      ...LIMIT_OPTIONS,
      port: { kind: PORT, summary: 'A port that it is for, else that of the host name', isRepeated: true },
    },
    examples: ['landfall vm-token make web --expires 30d --label ci --method GET --path /artifacts'],
    run: async (context, { args: { vm }, options }) => {
      const { expires, label, host, port, method, path: prefix, ctx } = options
      const { 'key-thumbprint': proofThumbprint } = options
      const body = {
        expiresAt: expires,
        ...(label !== undefined && { label }),
        ...toAudience({ host, ports: port }),
        ...(method !== undefined && { methods: method }),
        ...(prefix !== undefined && { pathPrefix: prefix }),
        ...(ctx !== undefined && { ctx }),
        ...(proofThumbprint !== undefined && { proofThumbprint }),
      }
      const view = await context.api.call({ method: 'POST', path: path`/v1/vms/${vm}/tokens`, body })
      const said = `token ${textOf(view, 'id')} for ${textOf(view, 'hostname')} until ${expires}; it is not shown again`
      return printWritten(context, { view, name: textOf(view, 'token'), said })
    },
  }),
  command('vm-token list', {
    summary: 'Lists the tokens that let programs reach a VM, without their texts',
    arguments: { vm: VM_ARGUMENT },
    run: (context, { args: { vm } }) =>
      printListing(context, {
        path: path`/v1/vms/${vm}/tokens`,
        plural: 'tokens',
        columns: [
          plain('ID'),
          plain('LABEL'),
          plain('HOST', 'hostname'),
          PORTS,
          METHODS,
          PATHS,
          end(context.now()),
          age('AGE', 'createdAt', context.now()),
        ],
        none: `No token lets anybody reach ${vm}. "landfall vm-token make ${vm} --expires 30d" makes one.`,
      }),
  }),
  command('vm-token show', {
    summary: 'Shows one of these tokens, without its text',
    arguments: { vm: VM_ARGUMENT, id: ID_ARGUMENT },
    run: async (context, { args: { vm, id } }) => {
      const view = await context.api.call({ method: 'GET', path: path`/v1/vms/${vm}/tokens/${id}` })
      return printRecord(context, view, [
        plain('ID'),
        plain('LABEL'),
        plain('HOST', 'hostname'),
        PORTS,
        METHODS,
        PATHS,
        plain('CTX'),
        plain('KEY THUMBPRINT', 'proofThumbprint'),
        end(context.now()),
        plain('CREATED', 'createdAt'),
        plain('CREATED BY', 'createdBy'),
      ])
    },
  }),
  command('vm-token delete', {
    summary: 'Ends such a token, and the streams that it opened',
    arguments: { vm: VM_ARGUMENT, id: ID_ARGUMENT },
    run: async (context, { args: { vm, id } }) => {
      await context.api.call({ method: 'DELETE', path: path`/v1/vms/${vm}/tokens/${id}` })
      return printDeleted(context, [id])
    },
  }),
]
