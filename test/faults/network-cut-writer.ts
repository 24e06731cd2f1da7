/** Writes rows into the Redis beside it: `node network-cut-writer.ts <URL> <port of the origin> <name> <count>`. */

import { startRedisStore } from '../../routing/store/redis-store.ts'
import { rowsNamed, writeRows } from './numbered-rows.ts'

const [url = '', originPort = '', name = '', count = ''] = process.argv.slice(2)
const log = { debug() {}, info() {}, warn: console.error, error: console.error }
await using store = await startRedisStore({ url }, { log })
await writeRows(store, rowsNamed(name, Number(count)), Number(originPort))
