/** The command line: finds the command, runs it, and turns whatever becomes of it into an exit code. */

import type { Readable } from 'node:stream'
import type { Environment } from '../lib/env-reader.ts'
import { HttpsApi } from './api.ts'
import { findCommand, type HelpWanted, type Parsed, parseCommandLine } from './arguments.ts'
import type { CommandContext } from './command.ts'
import { COMMANDS, NOUNS } from './commands.ts'
import { isNameQuestion, printNames } from './completion-names.ts'
import { type Connection, getConnection } from './connection.ts'
import { CliError, Interrupted, ProgramEnded, refuseUsage } from './errors.ts'
import { EXIT } from './exit-codes.ts'
import { explain } from './explain.ts'
import { helpOf, usageOf } from './help.ts'
import type { ImageTools } from './image-tools.ts'
import { type CliStream, Output } from './output.ts'

/** The process, as far as the command line needs it. */
export interface CliProcess {
  readonly env: Environment
  readonly stdin: Readable
  readonly stdout: CliStream
  readonly stderr: CliStream
  /** Aborts at Ctrl-C. */
  readonly signal: AbortSignal
  readonly images?: ImageTools
}

/** `line` is what follows `landfall`. Never throws; every error has been told on standard error. Returns the exit code. */
export async function runCli(line: readonly string[], io: CliProcess): Promise<number> {
  const output = new Output(io)
  const isJson = line.includes('--json')
  try {
    await runToEnd(line, { io, output, isJson })
    return EXIT.ok
  } catch (error) {
    if (error instanceof ProgramEnded) return error.exitCode
    if (io.signal.aborted) return EXIT.interrupted
    // Nobody reads on, as behind `| head`: that is no failure.
    if (error instanceof Interrupted) return EXIT.ok
    const { text, exitCode } = explain(error, { isJson, listing: findListing(line) })
    output.say(text)
    return exitCode
  }
}

interface Running {
  readonly io: CliProcess
  readonly output: Output
  readonly isJson: boolean
}

/** @throws what the command throws; CliError `cli_output_lost`; Interrupted */
async function runToEnd(line: readonly string[], { io, output, isJson }: Running): Promise<void> {
  const context = createContext(io, output)
  using _api = context.api
  try {
    await run(line, { ...context, isJson })
  } finally {
    await output.flush()
    checkOutput(output)
  }
}

/** A command whose output is lost has failed, or nobody wants it any more, whatever else became of it. */
function checkOutput({ fault, closed }: Output): void {
  if (fault !== undefined) throw new CliError('cli_output_lost', { cause: fault, detail: fault.message })
  if (closed.aborted) throw new Interrupted()
}

async function run(line: readonly string[], context: CommandContext): Promise<void> {
  if (isNameQuestion(line)) return printNames(context, line)
  const parsed = parseCommandLine(COMMANDS, line)
  if (isHelp(parsed)) return context.output.print(helpOf(COMMANDS, NOUNS, parsed.help))
  const { command, args, options } = parsed
  if (command.run === undefined) return refuseUsage(`"landfall ${command.words.join(' ')}" is run by itself.`)
  return command.run({ ...context, isJson: parsed.isJson }, { args, options })
}

/** `landfall vm list`, after a command about a VM. */
function findListing(line: readonly string[]): string | undefined {
  const noun = line.find((text) => !text.startsWith('-')) ?? ''
  const command = findCommand(COMMANDS, [noun, 'list'])
  return command && usageOf(command).replace(' [options]', '')
}

function isHelp(parsed: Parsed | HelpWanted): parsed is HelpWanted {
  return 'help' in parsed
}

function createContext({ env, stdin, images, signal: interrupt }: CliProcess, output: Output) {
  const signal = AbortSignal.any([interrupt, output.closed])
  let found: Promise<Connection> | undefined
  const find = () => {
    found ??= getConnection(env, (line) => output.say(line))
    return found
  }
  return {
    api: new HttpsApi(find, signal),
    getConnection: find,
    output,
    ...(images && { images }),
    isJson: false,
    env,
    stdin,
    signal,
    now: () => new Date(),
    commands: COMMANDS,
    nouns: NOUNS,
  }
}
