/** Runs a test file in a network namespace and a mount namespace of its own, so that nothing of the machine's changes. */

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

const MARK = 'LANDFALL_TEST_INSIDE'
const FILE_LIMIT_MS = 110_000
/** A `/run` of its own holds the names of namespaces, which end with the last process in here; `/dev/net` likewise. */
const ENTER = `
mount -t tmpfs tmpfs /run && mkdir /run/netns &&
mount -t tmpfs tmpfs /dev/net && mknod -m 600 /dev/net/tun c 10 200 &&
ip link set lo up &&
exec "$@"`
const TOOLS = [
  ['ip', '-V'],
  ['nft', '--version'],
  ['nsenter', '--version'],
  ['perl', '-v'],
] as const

/** False in the test file as it was started: it then runs itself inside, and has no tests of its own. */
export function isInside(): boolean {
  return process.env[MARK] === '1'
}

/** Runs the file inside; where that cannot be done, says why it was skipped. */
export async function runInside(t: Test, moduleUrl: string): Promise<void> {
  const lacking = findLacking()
  if (lacking !== undefined) {
    t.skip(lacking, async () => undefined)
    return
  }
  t.setTimeout(FILE_LIMIT_MS)
  const inside = ['--net', '--mount', '--propagation', 'private', '/bin/sh', '-c', ENTER, 'sh']
  const args = [...inside, process.execPath, fileURLToPath(moduleUrl)]
  const env = { ...process.env, [MARK]: '1', TAP_TIMEOUT: String(FILE_LIMIT_MS / 1_000) }
  await t.spawn('unshare', args, { env, timeout: FILE_LIMIT_MS }, 'in a network of its own')
}

function findLacking(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root'
  const tool = TOOLS.find(([command, flag]) => spawnSync(command, [flag]).status !== 0)
  if (tool) return `needs ${tool[0]}`
  const probe = 'ip tuntap add dev probe0 mode tap && nft add table inet probe'
  const { status, stderr } = spawnSync('unshare', ['--net', '/bin/sh', '-c', probe])
  return status === 0 ? undefined : `taps do not work here: ${String(stderr).trim()}`
}
