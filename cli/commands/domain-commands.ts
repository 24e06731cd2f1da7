/** `landfall domain`: host names outside the platform's own. */

import { printDeleted, printListing, printRecord } from '../answers.ts'
import { type Json, path } from '../api.ts'
import { printSteps, wrongSteps } from '../certificate-steps.ts'
import { type Command, type CommandContext, command } from '../command.ts'
import { ApiRefusal, CliError } from '../errors.ts'
import { DOMAIN, HOSTNAME, PORT, VM, WAIT } from '../kinds.ts'
import { pause } from '../pause.ts'
import { Progress } from '../progress.ts'
import { harmless, layOut } from '../text-table.ts'
import { type Column, listOf, plain, textOf } from '../views.ts'

const DOMAIN_ARGUMENT = { kind: DOMAIN, summary: 'A host name of yours' } as const
const WAIT_OPTIONS = {
  wait: { summary: 'Goes on checking until the domain is proven' },
  timeout: { kind: WAIT, summary: 'How long to wait, as 90s or 30m; 10m unless given' },
} as const
const DEFAULT_WAIT_MS = 600_000
const FIRST_POLL_MS = 1_000
const MAX_POLL_MS = 15_000
const PROOF: Column = { title: 'PROOF', of: (view) => textOf(view, 'provenBy') }
const COLUMNS = [plain('HOSTNAME'), plain('VM'), plain('PORT'), plain('STATE'), PROOF, plain('URL')]

export const DOMAIN_COMMANDS: readonly Command[] = [
  command('domain list', {
    summary: 'Lists the custom domains',
    options: { vm: { kind: VM, summary: 'Only those of this VM' } },
    run: (context, { options: { vm } }) =>
      printListing(context, {
        path: '/v1/domains',
        query: { vm },
        plural: 'domains',
        columns: COLUMNS,
        none: 'There are no custom domains.',
      }),
  }),
  command('domain show', {
    summary: 'Shows one domain, and what DNS has to say to prove it',
    arguments: { hostname: DOMAIN_ARGUMENT },
    run: async (context, { args: { hostname } }) => {
      const view = await context.api.call({ method: 'GET', path: path`/v1/domains/${hostname}` })
      return printDomain(context, view)
    },
  }),
  command('domain add', {
    summary: 'Leads a host name of yours to a VM, once it is proven to be yours',
    arguments: {
      hostname: { kind: HOSTNAME, summary: 'A host name of yours' },
      vm: { kind: VM, summary: 'The VM that it leads to' },
    },
    options: {
      port: { kind: PORT, summary: "The VM's port, else its default port" },
      proven: { summary: 'For operators: takes it as proven' },
      ...WAIT_OPTIONS,
    },
    examples: ['landfall domain add www.example.org web --wait'],
    run: async (context, { args: { hostname, vm }, options: { port, proven, wait, timeout } }) => {
      const address = path`/v1/domains/${hostname}`
      const view = await context.api.call({
        method: 'PUT',
        path: address,
        body: { vm, port, ...(proven && { proof: 'operator' }) },
      })
      if (!wait || isProven(view)) return printDomain(context, view)
      sayRecords(context, view)
      return printDomain(context, await waitForProof(context, hostname, timeout))
    },
  }),
  command('domain check', {
    summary: 'Looks into DNS for the proof that a domain is yours, and at all that its certificate needs',
    details:
      'It goes through the route, DNS, CAA, delegation, budgets, the authority, the order and the certificate. The exit\n' +
      "code is 0 when nothing is wrong. Operators may name the platform's own names as well.",
    arguments: { hostname: DOMAIN_ARGUMENT },
    options: WAIT_OPTIONS,
    run: async (context, { args: { hostname }, options: { wait, timeout } }) => {
      const view = await (wait ? waitForProof(context, hostname, timeout) : findProof(context, hostname))
      return printCheck(context, { hostname, view })
    },
  }),
  command('domain delete', {
    summary: 'Takes a custom domain away',
    arguments: { hostname: DOMAIN_ARGUMENT },
    run: async (context, { args: { hostname } }) => {
      await context.api.call({ method: 'DELETE', path: path`/v1/domains/${hostname}` })
      return printDeleted(context, [hostname])
    },
  }),
]

function check({ api }: CommandContext, hostname: string): Promise<Json> {
  return api.call({ method: 'POST', path: path`/v1/domains/${hostname}/check` })
}

/** Undefined for a name that nobody has to prove: the platform's own. */
async function findProof(context: CommandContext, hostname: string): Promise<Json | undefined> {
  try {
    return await check(context, hostname)
  } catch (error) {
    const isMissing = error instanceof ApiRefusal && error.code === 'api_not_found'
    if (!isMissing || !(await isOwnName(context, hostname))) throw error
    return undefined
  }
}

/** What the API knows a certificate of is no stranger's name. */
function isOwnName({ api }: CommandContext, hostname: string): Promise<boolean> {
  return api.call({ method: 'GET', path: path`/v1/certificates/${hostname}` }).then(
    () => true,
    (error: unknown) => {
      if (error instanceof ApiRefusal) return false
      throw error
    },
  )
}

interface Checked {
  readonly hostname: string
  readonly view: Json | undefined
}

/** The proof, and then step by step what the certificate needs. @throws CliError `cli_domain_wrong` */
async function printCheck(context: CommandContext, { hostname, view }: Checked): Promise<void> {
  const isProofLacking = view !== undefined && !isProven(view)
  const certificate = isProofLacking ? undefined : await checkCertificate(context, hostname)
  if (context.isJson) {
    const shown = { hostname, ...view, ...(certificate && { certificate }) }
    await context.output.printJson(shown)
  } else {
    if (view !== undefined) await printDomain(context, view)
    if (certificate !== undefined) await printSteps(context, certificate)
  }
  const wrong = isProofLacking ? ['proof'] : wrongSteps(certificate ?? {})
  if (wrong.length > 0)
    throw new CliError('cli_domain_wrong', { detail: `${hostname}: ${wrong.join(', ')}.` })
}

function checkCertificate({ api }: CommandContext, hostname: string): Promise<Json> {
  const query = { check: 'true' }
  return api.call({ method: 'GET', path: path`/v1/certificates/${hostname}`, query })
}

/** The proven domain. @throws CliError `cli_timed_out` */
async function waitForProof(
  context: CommandContext,
  hostname: string,
  timeoutMs = DEFAULT_WAIT_MS,
): Promise<Json> {
  using progress = new Progress(context.output)
  const deadline = performance.now() + timeoutMs
  for (let pollMs = FIRST_POLL_MS; ; pollMs = Math.min(pollMs * 2, MAX_POLL_MS)) {
    const view = await check(context, hostname)
    if (isProven(view)) return view
    const found = textOf(view, 'lastError')
    if (performance.now() + pollMs > deadline) {
      const next = `Set the DNS record that "landfall domain show ${hostname}" names, then check again.`
      throw new CliError('cli_timed_out', { detail: `${hostname} is not proven yet. ${found}`.trim(), next })
    }
    progress.say(`${hostname}: not proven yet${found === '' ? '' : `: ${found}`}`)
    await pause(pollMs, context.signal)
  }
}

function isProven(view: Json): boolean {
  return textOf(view, 'state') === 'proven'
}

async function printDomain(context: CommandContext, view: Json): Promise<void> {
  await printRecord(context, view, [
    ...COLUMNS,
    plain('LAST ERROR', 'lastError'),
    plain('CREATED', 'createdAt'),
  ])
  if (!context.isJson && !isProven(view)) sayRecords(context, view)
}

/** What has to be set in DNS: one of the records is enough. */
function sayRecords({ output }: CommandContext, view: Json): void {
  const hostname = textOf(view, 'hostname')
  const rows = listOf(view, 'records').map((record) => [
    textOf(record, 'name'),
    textOf(record, 'type'),
    textOf(record, 'value'),
  ])
  const [titles = [], ...rest] = rows.map((row) => row.map(harmless))
  output.say(harmless(`Set one of these in DNS, then run "landfall domain check ${hostname}":`))
  for (const line of layOut({ titles, rows: rest }, { hasColours: false })) output.say(`  ${line}`)
}
