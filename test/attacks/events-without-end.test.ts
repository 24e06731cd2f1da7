/**
 * A guest has broken into its VMM, which sends event after event over its control socket. The sidecar that reads them
 * looks after all VMs of the host; it takes a megabyte at once and then no more than 256 KiB a second from one of them.
 */

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { connectQmp } from '../../sidecar/qmp/qmp-client.ts'
import { folderFor } from '../helpers/folder.ts'
import { until } from '../helpers/until.ts'
import { scriptedQmpFor } from '../sidecar/qmp/scripted-qmp.ts'

const EVENT = `${JSON.stringify({ event: 'NOISE', data: {} })}\n`
/** What an event costs beside its characters: 256. */
const AT_ONCE = 1_048_576 / 256

t.test('a VMM that talks without end is read no faster than it may', async (t) => {
  const path = join(folderFor(t), 'qmp')
  await scriptedQmpFor(t, path, {
    onCommand: (_say, _command, socket) => {
      const pour = () => {
        while (!socket.destroyed && socket.write(EVENT.repeat(1_000)));
      }
      socket.on('drain', pour)
      pour()
    },
  })
  const qmp = await connectQmp(path)
  t.teardown(() => qmp.close())
  const heard = { events: 0 }
  qmp.onEvent('NOISE', () => {
    heard.events += 1
  })
  qmp.execute('x').catch(() => undefined)
  await until(() => heard.events > 1_000, 'some are heard')
  await sleep(1_000)
  t.ok(heard.events < 3 * AT_ONCE, `${heard.events} events were heard`)
})
