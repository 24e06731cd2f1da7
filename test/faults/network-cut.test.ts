/** The network between the edges and Redis swallows every packet for a while. */

import { fileURLToPath } from 'node:url'
import t from 'tap'
import { faultTimeFor } from './fault-time.ts'

const FAULT_SECONDS = 8
const faultMs = faultTimeFor(t, { seconds: FAULT_SECONDS })
const SCENE = fileURLToPath(new URL('network-cut-scene.ts', import.meta.url))

/** A network of its own, which goes with its last process, is root's to make. */
const needsRoot = process.getuid?.() === 0 ? false : 'it needs root, for network namespaces of its own'

t.test('edges serve while packets to Redis vanish', { skip: needsRoot }, async (t) => {
  const env = { ...process.env, LANDFALL_FAULT_SECONDS: String(faultMs / 1_000) }
  await t.spawn('unshare', ['--net', '--', process.execPath, SCENE], { env, timeout: faultMs + 100_000 })
})
