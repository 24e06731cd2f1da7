/** The command line of an operator against edges of this process; their domain is below localhost, which it finds by itself. */

import type { Test } from 'tap'
import { type CliOptions, type CliResult, cliFor } from '../cli/cli-process.ts'
import type { SharingEdges } from './certified-edges.ts'

export const CLI_DOMAIN = 'fleet.localhost'

export interface FleetCli {
  /** Words without spaces. */
  readonly cli: (line: string, options?: CliOptions) => Promise<CliResult>
  /** All that it wrote. */
  readonly said: readonly string[]
}

/** Goes through the first edge. */
export function fleetCliFor(t: Test, { edges, adminToken }: SharingEdges): FleetCli {
  const run = cliFor(t, {
    LANDFALL_API: `https://admin.${CLI_DOMAIN}:${edges[0].httpsPort}`,
    LANDFALL_TOKEN: adminToken,
    LANDFALL_CA_FILE: edges[0].caFile,
  })
  const said: string[] = []
  return {
    said,
    cli: async (line, options) => {
      const result = await run(line.split(' '), options)
      said.push(result.stdout, result.stderr)
      return result
    },
  }
}
