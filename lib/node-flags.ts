/** Runs this program under Node flags that only count from the start, however it was started. */

/**
 * Starts the program anew in the same process, by execve(2), unless Node was given `flags` already; then, and where that
 * cannot be done, it returns. Flags that were given besides count instead: those of the command line come behind, and what
 * NODE_OPTIONS sets is left out. A process with an IPC channel is left as it is: its parent would lose it.
 */
export function takeNodeFlags(flags: readonly string[], env: NodeJS.ProcessEnv): void {
  const { execArgv, execPath, argv, channel, execve } = process
  if (execve === undefined || channel !== undefined) return
  const wanted = flags.filter((flag) => !env.NODE_OPTIONS?.includes(flag.split('=')[0] ?? flag))
  if (wanted.every((flag) => execArgv.includes(flag))) return
  execve(execPath, [execPath, ...wanted, ...execArgv, ...argv.slice(1)], env)
}
