/** Waits until an edge answers for a URL with what the VM behind it says. */

import type { IncomingHttpHeaders } from 'node:http'
import type { CommandContext } from '../command.ts'
import { CliError, Interrupted } from '../errors.ts'
import { pause } from '../pause.ts'
import { Progress } from '../progress.ts'
import { Transport } from '../transport.ts'

export interface UrlWait {
  readonly url: string
  /** The VM's. */
  readonly name: string
  readonly timeoutMs: number
}

const FIRST_POLL_MS = 100
const MAX_POLL_MS = 2_000
const TRY_MS = 10_000

/** @throws CliError `cli_timed_out`; Interrupted */
export async function waitForUrl(context: CommandContext, { url, name, timeoutMs }: UrlWait): Promise<void> {
  using progress = new Progress(context.output)
  progress.say(`${name}: waiting for ${url}`)
  const { ca } = await context.getConnection()
  const { origin, pathname } = new URL(url)
  using transport = new Transport({ url: origin, ...(ca !== undefined && { ca }) }, context.signal)
  const deadline = performance.now() + timeoutMs
  for (let pollMs = FIRST_POLL_MS; ; pollMs = Math.min(pollMs * 2, MAX_POLL_MS)) {
    const unanswered = await findFault(transport, pathname)
    if (unanswered === undefined) return
    if (performance.now() + pollMs > deadline) throw late(url, name, unanswered)
    await pause(pollMs, context.signal)
  }
}

/** What keeps the URL from answering; undefined when it answers. */
async function findFault(transport: Transport, path: string): Promise<string | undefined> {
  const headers = { accept: '*/*', 'user-agent': 'landfall-cli' }
  try {
    const incoming = await transport.stream({ method: 'GET', path, headers, timeoutMs: TRY_MS })
    // Only the head counts; a body may have no end.
    incoming.on('error', () => {}).destroy()
    const status = incoming.statusCode ?? 0
    return isAnswered(status, incoming.headers) ? undefined : `It answers ${status}.`
  } catch (error) {
    if (error instanceof Interrupted) throw error
    return (error as Error).message
  }
}

/** An edge names each request; where it answers by itself (Proxy-Status), only asking for a login counts. */
function isAnswered(status: number, headers: IncomingHttpHeaders): boolean {
  const isOfEdge = headers['x-request-id'] !== undefined
  const isRefusal = headers['proxy-status'] !== undefined && status !== 401 && status !== 403
  return isOfEdge && !isRefusal && status < 500
}

function late(url: string, name: string, unanswered: string): CliError {
  const next = `The VM is there: "landfall vm show ${name}" says how it is. Does something in it listen on its port?`
  return new CliError('cli_timed_out', { detail: `${url} does not answer yet. ${unanswered}`, next })
}
