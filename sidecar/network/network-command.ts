/** Runs `ip`, `nft` and their like; what fails says what was asked. */

import { LandfallError } from '../../lib/errors.ts'
import { SidecarError } from '../errors.ts'
import { runCommand } from '../run-command.ts'

/** A kernel that is busy with its network answers late, not never. */
const TIMEOUT_MS = 15_000
const SHOWN_CHARACTERS = 1_000

/** Its standard output. @throws SidecarError network_failed with what was run and what it wrote */
export async function runNetworkCommand(file: string, args: readonly string[], input = ''): Promise<string> {
  try {
    return await runCommand(file, args, { input, timeoutMs: TIMEOUT_MS })
  } catch (cause) {
    const said = cause instanceof LandfallError ? (cause.detail ?? cause.message) : String(cause)
    const asked = [`${file} ${args.join(' ')}`, input.trim().slice(0, SHOWN_CHARACTERS)]
    throw new SidecarError('network_failed', {
      cause,
      detail: said,
      context: { command: asked.filter((text) => text !== '').join('\n') },
    })
  }
}
