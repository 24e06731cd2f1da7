/** How a command is tried: what it has to ask, and what it has to print. */

/** Line → what is sent (method, path, body), and what stands on standard output and error. */
export interface CommandCase {
  readonly line: string
  readonly sent: readonly (readonly [string, string, unknown?])[]
  readonly stdout?: RegExp | string
  readonly stderr?: RegExp | string
}
