/** The one host name of a VM that a token or a link is for, and which ports it opens. */

export interface Audience {
  readonly host: string | undefined
  readonly ports: readonly number[] | undefined
}

/**
 * The members of a body. One port alone stands for the host name of that port; several are reached under the VM's own
 * name.
 */
export function toAudience({ host, ports }: Audience) {
  const [port, ...more] = ports ?? []
  if (host === undefined && port !== undefined && more.length === 0) return { port }
  return { ...(host !== undefined && { hostname: host }), ...(ports !== undefined && { ports }) }
}
