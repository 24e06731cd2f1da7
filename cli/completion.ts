/** Completion scripts, made of the table of commands. */

import type { Command } from './command.ts'
import { bashCompletion, zshCompletion } from './completion-bash.ts'
import { fishCompletion } from './completion-fish.ts'

const SCRIPTS: Readonly<Record<string, (commands: readonly Command[]) => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
}

export function completionOf(shell: string, commands: readonly Command[]): string {
  return SCRIPTS[shell]?.(commands) ?? ''
}
