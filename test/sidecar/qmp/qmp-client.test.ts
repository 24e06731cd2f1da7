/** The QMP client against a scripted server and the real storage daemon. */

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { connectQmp } from '../../../sidecar/qmp/qmp-client.ts'
import { folderFor } from '../../helpers/folder.ts'
import { GREETING, scriptedQmpFor } from './scripted-qmp.ts'

const noDaemon =
  spawnSync('qemu-storage-daemon', ['--version']).status !== 0 && 'qemu-storage-daemon is not installed'

t.test('commands under way at once are answered in any order', async (t) => {
  const path = join(folderFor(t), 's')
  const held: (() => void)[] = []
  await scriptedQmpFor(t, path, {
    onCommand: (say, { arguments: args, id }) => {
      held.unshift(() => say({ return: args, id }))
      if (held.length === 3) for (const answer of held) answer()
    },
  })
  const qmp = await connectQmp(path)
  t.teardown(() => qmp.close())
  const answers = await Promise.all([1, 2, 3].map((n) => qmp.execute('echo', { n })))
  t.same(answers, [{ n: 1 }, { n: 2 }, { n: 3 }])
})

t.test('a refused command rejects with the class and the description that QMP gave', async (t) => {
  const path = join(folderFor(t), 's')
  await scriptedQmpFor(t, path, {
    onCommand: (say, { id }) => say({ error: { class: 'CommandNotFound', desc: 'never heard of it' }, id }),
  })
  const qmp = await connectQmp(path)
  t.teardown(() => qmp.close())
  await t.rejects(qmp.execute('nonsense'), {
    code: 'qmp_failed',
    detail: 'nonsense: CommandNotFound: never heard of it',
    context: { command: 'nonsense', class: 'CommandNotFound', desc: 'never heard of it' },
  })
})

t.test(
  'events reach their listeners, also in pieces and between answers, until they are told to stop',
  async (t) => {
    const path = join(folderFor(t), 's')
    await scriptedQmpFor(t, path, {
      onCommand: (say, { id }, socket) => {
        socket.write('{"event": "STOP", "timestamp": {}}\r\n{"event": "JOB", "da')
        setImmediate(() => {
          socket.write(`ta": {"name": "größer"}}\n`)
          say({ return: {}, id })
        })
      },
    })
    const qmp = await connectQmp(path)
    t.teardown(() => qmp.close())
    const seen: unknown[] = []
    const stop = qmp.onEvent('JOB', (data) => seen.push(data))
    await qmp.execute('x')
    t.same(seen, [{ name: 'größer' }])
    stop()
    await qmp.execute('x')
    t.equal(seen.length, 1)
  },
)

t.test(
  'when the connection ends every command that waits is rejected, and so is every later one',
  async (t) => {
    const path = join(folderFor(t), 's')
    await scriptedQmpFor(t, path, {
      onCommand: (_say, { execute }, socket) => {
        if (execute === 'end') socket.destroy()
      },
    })
    const qmp = await connectQmp(path)
    const waiting = ['a', 'b', 'end'].map((command) => qmp.execute(command))
    for (const one of waiting) await t.rejects(one, { code: 'qmp_failed' })
    await qmp.closed
    await t.rejects(qmp.execute('c'), { code: 'qmp_failed', context: { command: 'c' } })
  },
)

t.test('closing it rejects what waits', async (t) => {
  const path = join(folderFor(t), 's')
  await scriptedQmpFor(t, path, { onCommand: () => undefined })
  const qmp = await connectQmp(path)
  const waiting = qmp.execute('a')
  qmp.close()
  await t.rejects(waiting, { code: 'qmp_failed' })
  await qmp.closed
})

t.test(
  'a command that is not answered in time is rejected, and its late answer harms no other',
  async (t) => {
    const path = join(folderFor(t), 's')
    let late: (() => void) | undefined
    await scriptedQmpFor(t, path, {
      onCommand: (say, { execute, id }) => {
        if (execute === 'slow') late = () => say({ return: 'late', id })
        else {
          late?.()
          say({ return: 'quick', id })
        }
      },
    })
    const qmp = await connectQmp(path)
    t.teardown(() => qmp.close())
    await t.rejects(qmp.execute('slow', {}, { timeoutMs: 20 }), { message: 'slow: no answer within 20 ms' })
    t.equal(await qmp.execute('quick'), 'quick')
  },
)

t.test('what is no QMP ends the connection', async (t) => {
  const folder = folderFor(t)
  const endless = join(folder, 'endless')
  await scriptedQmpFor(t, endless, {
    onCommand: (_say, _command, socket) => {
      const pour = () => {
        while (!socket.destroyed && socket.write('x'.repeat(65_536)));
      }
      socket.on('drain', pour)
      pour()
    },
  })
  const qmp = await connectQmp(endless)
  await t.rejects(qmp.execute('x'), { message: /too long/ })
  const cases = { words: 'hello\n', number: '7\n', stray: `${JSON.stringify(GREETING)}\n{"return": {}}\n` }
  for (const [name, greeting] of Object.entries(cases)) {
    const path = join(folder, name)
    await scriptedQmpFor(t, path, { greeting, onCommand: () => undefined })
    await t.rejects(connectQmp(path), { code: 'qmp_failed' }, name)
  }
})

t.test('a link to a socket is not followed', async (t) => {
  const folder = folderFor(t)
  const seen: string[] = []
  const onCommand = (_say: unknown, { execute }: { execute: string }) => void seen.push(execute)
  await scriptedQmpFor(t, join(folder, 'secret'), { onCommand })
  symlinkSync(join(folder, 'secret'), join(folder, 's'))
  writeFileSync(join(folder, 'file'), '')
  await t.rejects(connectQmp(join(folder, 's')), { code: 'qmp_failed', message: /ELOOP|no socket/ })
  await t.rejects(connectQmp(join(folder, 'file')), { code: 'qmp_failed', message: /no socket/ })
  t.same(seen, [])
})

t.test(
  'a socket of another user is not spoken to',
  { skip: process.getuid?.() !== 0 && 'giving files away needs root' },
  async (t) => {
    const path = join(folderFor(t), 's')
    await scriptedQmpFor(t, path, { onCommand: () => undefined })
    chownSync(path, 654_321, 654_321)
    await t.rejects(connectQmp(path), { code: 'qmp_failed', message: /another user/ })
    await t.rejects(connectQmp(path, { uid: 654_322 }), { code: 'qmp_failed', message: /another user/ })
    const qmp = await connectQmp(path, { uid: 654_321 })
    qmp.close()
  },
)

t.test('a server that hangs up at once is told of at once', async (t) => {
  const path = join(folderFor(t), 's')
  const server = createServer((socket) => socket.on('error', () => undefined).destroy())
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => server.close())
  const started = performance.now()
  for (let tries = 0; tries < 20; tries += 1) {
    await t.rejects(connectQmp(path, { timeoutMs: 10_000 }), { code: 'qmp_failed' })
  }
  t.ok(performance.now() - started < 5_000)
})

t.test('connecting waits for the socket, and gives up in time or when told to', async (t) => {
  const folder = folderFor(t)
  const path = join(folder, 's')
  const early = connectQmp(path)
  await scriptedQmpFor(t, path, { onCommand: () => undefined })
  const qmp = await early
  qmp.close()
  await t.rejects(connectQmp(join(folder, 'nothing'), { timeoutMs: 30 }), { code: 'qmp_failed' })
  const silent = join(folder, 'silent')
  await scriptedQmpFor(t, silent, { greeting: '\n'.trim(), onCommand: () => undefined })
  await t.rejects(connectQmp(silent, { timeoutMs: 30 }), { code: 'qmp_failed' })
  await t.rejects(connectQmp(silent, { signal: AbortSignal.timeout(30) }), { code: 'qmp_failed' })
})

t.test(
  'the storage daemon speaks it, also where the path is longer than a socket address',
  { skip: noDaemon },
  async (t) => {
    const folder = join(folderFor(t), 'x'.repeat(120))
    mkdirSync(folder)
    const daemon = spawn(
      'qemu-storage-daemon',
      ['--chardev', 'socket,path=qmp.sock,server=on,wait=off,id=q', '--monitor', 'chardev=q'],
      { cwd: folder, stdio: 'inherit' },
    )
    t.teardown(() => daemon.kill('SIGKILL'))
    const qmp = await connectQmp(join(folder, 'qmp.sock'))
    t.same(await qmp.execute('query-named-block-nodes'), [])
    await t.rejects(qmp.execute('blockdev-del', { 'node-name': 'none' }), { message: /GenericError/ })
    await qmp.execute('quit')
    await qmp.closed
    if (daemon.exitCode === null) await once(daemon, 'exit')
    t.equal(daemon.exitCode, 0)
  },
)
