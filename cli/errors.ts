/** What the command line itself refuses or fails at, and an answer of the API that is not a good one. */

import { type Fault, LandfallError, type LandfallErrorOptions } from '../lib/errors.ts'
import type { Problem } from '../lib/problem.ts'
import { EXIT, type ExitCode, exitCodeOf } from './exit-codes.ts'

interface CliFault extends Fault {
  readonly exit: ExitCode
}

const OURS = { status: 0, source: 'client', retryable: false } as const

export const FAULTS = {
  cli_usage: {
    ...OURS,
    exit: EXIT.usage,
    title: 'The command line is wrong',
    next: 'Run "landfall help".',
  },
  cli_not_connected: {
    ...OURS,
    exit: EXIT.unauthorized,
    title: 'There is no API to talk to',
    next: 'Set LANDFALL_API and LANDFALL_TOKEN, or run "landfall login", or start "landfall dev" in this folder.',
  },
  cli_token_missing: {
    ...OURS,
    exit: EXIT.unauthorized,
    title: 'There is no token for the API',
    next: 'Set LANDFALL_TOKEN, or run "landfall login --api URL --token-stdin".',
  },
  cli_file_unusable: {
    ...OURS,
    exit: EXIT.usage,
    title: 'A file cannot be used',
    next: 'Correct the file that is named above, or what names it.',
  },
  cli_key_unusable: {
    ...OURS,
    exit: EXIT.usage,
    title: 'The key cannot sign tokens',
    next: 'Name an ed25519 or ECDSA key with --key, or its .pub file where ssh-agent holds the key.',
  },
  cli_agent_failed: {
    ...OURS,
    exit: EXIT.failed,
    title: 'ssh-agent did not sign',
    next: 'Add the key with "ssh-add FILE" (SSH_AUTH_SOCK names the agent), or name one without a passphrase with --key.',
  },
  cli_output_lost: {
    ...OURS,
    exit: EXIT.failed,
    title: 'What was to be printed cannot be written',
    next: 'See whether the disk is full. What the command did is done.',
  },
  cli_exists: {
    ...OURS,
    exit: EXIT.conflict,
    title: 'The name is taken',
    next: 'Choose another name, or change what has it with "set".',
  },
  cli_unreachable: {
    ...OURS,
    source: 'upstream',
    retryable: true,
    exit: EXIT.failed,
    title: 'The API cannot be reached',
    next: 'Check the address and the network; where it is your own, see whether "landfall dev" runs.',
  },
  cli_untrusted: {
    ...OURS,
    source: 'upstream',
    exit: EXIT.failed,
    title: "The API's certificate is not trusted",
    next: 'Set LANDFALL_CA_FILE to the certificate of the authority that issued it (of "landfall dev": ca.pem in its data folder).',
  },
  cli_slow: {
    ...OURS,
    source: 'upstream',
    retryable: true,
    exit: EXIT.failed,
    title: 'The API did not answer in time',
    next: 'Run the command again. What it was to change may have been changed already.',
  },
  cli_answer_unreadable: {
    ...OURS,
    source: 'upstream',
    exit: EXIT.failed,
    title: 'The answer is not one of the API',
    next: 'Check that the address is that of the admin API: https://admin.<domain>.',
  },
  cli_timed_out: {
    ...OURS,
    source: 'upstream',
    retryable: true,
    exit: EXIT.timedOut,
    title: 'It did not happen in time',
    next: 'It may still happen. Look again later, or give it longer with --timeout.',
  },
  cli_domain_wrong: {
    ...OURS,
    exit: EXIT.refused,
    title: 'Something is wrong with the domain',
    next: 'Do what the lines above say, then check again.',
  },
  cli_program_missing: {
    ...OURS,
    exit: EXIT.failed,
    title: 'A program cannot be run',
    next: 'Install the OpenSSH client, so that "ssh" is in the PATH.',
  },
  cli_vm_failed: {
    ...OURS,
    source: 'upstream',
    exit: EXIT.failed,
    title: 'The VM failed to start',
    next: 'The host says why above. Correct that, then run "landfall vm start" with its name.',
  },
} as const satisfies Record<string, CliFault>

export type CliCode = keyof typeof FAULTS

export interface CliErrorOptions extends LandfallErrorOptions {
  /** In place of the fault's own next step. */
  readonly next?: string
}

/** Anything that ends a command with an exit code other than 0. */
export class CliError extends LandfallError {
  readonly exitCode: ExitCode

  constructor(code: CliCode, { next, ...options }: CliErrorOptions = {}) {
    const fault: CliFault = FAULTS[code]
    super(code, next === undefined ? fault : { ...fault, next }, options)
    this.exitCode = fault.exit
  }
}

/** An answer with a status of 400 or more. */
export class ApiRefusal extends LandfallError {
  readonly exitCode: ExitCode
  readonly problem: Problem

  constructor(problem: Problem) {
    const { status, title, next, retryable, detail, code } = problem
    const source = status < 500 ? 'client' : 'upstream'
    const fault = { status, source, retryable, title, next } as const
    super(code, fault, { ...(detail !== undefined && { detail }) })
    this.exitCode = exitCodeOf(status)
    this.problem = problem
  }
}

/** Ctrl-C, or nobody reads the output any more. */
export class Interrupted extends Error {
  constructor(message = 'interrupted', options?: ErrorOptions) {
    super(message, options)
    this.name = 'Interrupted'
  }
}

/** A program that a command ran in its own place ended with a code that is not 0. */
export class ProgramEnded extends Error {
  readonly exitCode: number

  constructor(exitCode: number) {
    super(`ended with ${exitCode}`)
    this.name = 'ProgramEnded'
    this.exitCode = exitCode
  }
}

/** @throws CliError `cli_usage`, always */
export function refuseUsage(detail: string, next?: string): never {
  throw new CliError('cli_usage', { detail, ...(next !== undefined && { next }) })
}
