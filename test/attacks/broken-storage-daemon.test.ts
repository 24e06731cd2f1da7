/**
 * A guest has broken into the process that serves its disk, which then runs what the attacker likes, as its own user.
 * He goes for what listens on the machine's loopback address (the store, the admin API), and leaves a process behind
 * that waits until root clears up the folder. From its jail no network is reached, and nothing outlives it.
 */

import { existsSync, readFileSync } from 'node:fs'
import { chmod, mkdir, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { findJailKind } from '../../sidecar/jail.ts'
import { launch } from '../../sidecar/launch.ts'
import { isAlive, signalProcess } from '../../sidecar/process-identity.ts'
import { folderFor } from '../helpers/folder.ts'
import { until } from '../helpers/until.ts'

const isRoot = process.getuid?.() === 0
const kind = await findJailKind()
const hasJail = kind === 'root' || kind === 'user'
const options = hasJail ? {} : { skip: 'bubblewrap does not work here' }
const UID = 612_345

t.test('it reaches nothing that listens here, and leaves nothing behind', options, async (t) => {
  const folder = folderFor(t)
  await chmod(folder, 0o755)
  const own = join(folder, 'own')
  await mkdir(own)
  await chmod(own, 0o777)
  const server = createServer((socket) => socket.end('secret')).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await until(() => server.listening, 'it listens')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const script = [
    `if (exec 3<>/dev/tcp/127.0.0.1/${port}) 2>/dev/null; then echo reached >reach; else echo cut off >reach; fi`,
    '(trap "" HUP TERM; while :; do echo x >>left; sleep 0.02; done) </dev/null >/dev/null 2>&1 &',
    'exec sleep 60',
  ]
  const ids = isRoot ? { uid: UID, gid: UID } : { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  const broken = await launch({
    command: 'bash',
    args: ['-c', script.join('\n')],
    logFile: join(folder, 'log'),
    groups: [],
    folder: own,
    jail: { ...ids, readable: [], writable: [own], devices: [] },
  })
  t.teardown(() => signalProcess(broken, 'SIGKILL'))
  await until(() => existsSync(join(own, 'left')), 'what is to be left behind runs')
  t.equal(readFileSync(join(own, 'reach'), 'utf8'), 'cut off\n')
  signalProcess(broken, 'SIGKILL')
  await broken.exited
  await until(() => !isAlive(broken), 'it has ended')
  // What was left behind would write the file anew.
  await rm(join(own, 'left'))
  await new Promise((resolve) => setTimeout(resolve, 300))
  t.notOk(existsSync(join(own, 'left')), 'what it started ended with it')
})
