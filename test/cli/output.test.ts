/** Errors, terminals and closed pipes: what the command line writes where. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { PassThrough, Readable, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { runCli } from '../../cli/cli.ts'
import { cliFor, closedPipe, scriptedCliFor } from './cli-process.ts'
import { problem, TOKEN } from './scripted-api.ts'

const CLI = fileURLToPath(new URL('../../cli/cli.ts', import.meta.url))

t.test('an error says what, why, what next, its code and the request', async (t) => {
  const { cli } = await scriptedCliFor(t, () =>
    problem(422, 'api_record_invalid', { detail: 'It must be a size.', field: '/memoryBytes' }),
  )
  const line = 'pool new web --cpus 1 --memory 1G --disk 1G'.split(' ')
  const { code, stdout, stderr } = await cli(line)
  t.equal(code, 1)
  t.equal(stdout, '')
  t.equal(
    stderr,
    `landfall: The title of api_record_invalid
  It must be a size.
  field: /memoryBytes
  next: What to do about api_record_invalid.
  (api_record_invalid, request req-1)
`,
  )
  const asJson = await cli([...line, '--json'])
  t.equal(asJson.stdout, '')
  t.match(JSON.parse(asJson.stderr), { code: 'api_record_invalid', field: '/memoryBytes', status: 422 })
})

t.test('what is not found leads to what there is', async (t) => {
  const { cli } = await scriptedCliFor(t, () =>
    problem(404, 'api_not_found', { detail: 'There is no vm "x".' }),
  )
  t.match(await cli(['vm', 'show', 'x']), {
    code: 4,
    stderr: /next: "landfall vm list" shows what there is\./,
  })
  t.match((await cli(['grant', 'delete', 'x', 'y'])).stderr, '"landfall grant list VM" shows')
  t.match((await cli(['usage', 'x'])).stderr, 'next: What to do about api_not_found.')
  t.match(JSON.parse((await cli(['vm', 'show', 'x', '--json'])).stderr), { next: /What to do/ })
})

t.test('errors of its own look the same, and none has a stack trace', async (t) => {
  const cli = cliFor(t)
  const { code, stderr } = await cli(['vm', 'list'])
  t.equal(code, 3)
  t.equal(
    stderr,
    `landfall: There is no API to talk to
  next: Set LANDFALL_API and LANDFALL_TOKEN, or run "landfall login", or start "landfall dev" in this folder.
  (cli_not_connected)
`,
  )
  t.match(JSON.parse((await cli(['vm', 'list', '--json'])).stderr), { code: 'cli_not_connected' })
  t.match(
    await cli(['vm', 'new', 'amber']),
    { stderr: /^landfall: There is no API/ },
    'nothing is being made',
  )
  t.match(JSON.parse((await cli(['vm', 'lst', '--json'])).stderr), {
    code: 'cli_usage',
    detail: /Did you mean/,
  })
})

t.test('what a server sends cannot reach the terminal as it is', async (t) => {
  const evil = { title: 'a\u001b[2Jb', detail: 'c\u001b]0;x\u0007d', next: 'e\nlandfall: f' }
  const { cli } = await scriptedCliFor(t, () => problem(400, 'x', evil))
  const { stderr } = await cli(['vm', 'list'])
  t.notMatch(stderr, '\u001b')
  t.match(stderr, /next: e\\u\{a\}landfall: f\n/)
})

t.test('titles are bold in a terminal alone, and not where colours are not wanted', async (t) => {
  const { cli } = await scriptedCliFor(t, () => ({ body: { vms: [{ name: 'web' }] } }))
  const line = ['vm', 'list']
  t.ok((await cli(line, { columns: 80 })).stdout.startsWith('\u001b[1mNAME'))
  t.notMatch((await cli(line)).stdout, '\u001b')
  t.notMatch((await cli(line, { columns: 80, env: { NO_COLOR: '1' } })).stdout, '\u001b')
  t.notMatch((await cli(line, { columns: 80, env: { TERM: 'dumb' } })).stdout, '\u001b')
})

t.test('a table fits the terminal', async (t) => {
  const vm = { name: 'web', comment: 'x'.repeat(200), url: 'https://web.example.test/', state: 'running' }
  const { cli } = await scriptedCliFor(t, () => ({ body: { vms: [vm] } }))
  const lines = (await cli(['vm', 'list'], { columns: 70, env: { NO_COLOR: '1' } })).stdout
    .trimEnd()
    .split('\n')
  t.equal(lines.length, 2)
  for (const line of lines) t.ok(line.length <= 70, line)
  t.match((await cli(['vm', 'list'])).stdout, /x{200}/)
})

t.test('a reader that went away is no failure', async (t) => {
  const { url, caFile } = await scriptedCliFor(t, () => ({ body: { vms: [{ name: 'web' }] } }))
  const stderr = new PassThrough()
  const code = await runCli(['vm', 'list'], {
    env: { LANDFALL_API: url, LANDFALL_TOKEN: TOKEN, LANDFALL_CA_FILE: caFile },
    stdin: Readable.from([]),
    stdout: closedPipe(),
    stderr,
    signal: new AbortController().signal,
  })
  t.equal(code, 0)
  t.equal(stderr.end() && (await text(stderr)), '')
})

t.test('a real pipe whose reader leaves ends the stream of events quietly', async (t) => {
  const { url, caFile } = await scriptedCliFor(t, (_call, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const timer = setInterval(() => {
      for (let at = 0; at < 100; at += 1)
        response.write('data: {"kind": "vm", "name": "web", "revision": 1}\n\n')
    }, 5)
    response.on('close', () => clearInterval(timer))
    return undefined
  })
  const program = `import { runCli } from ${JSON.stringify(CLI)}
const { env, stdin, stdout, stderr } = process
process.exitCode = await runCli(['events'], { env, stdin, stdout, stderr, signal: new AbortController().signal })`
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], {
    env: { ...process.env, LANDFALL_API: url, LANDFALL_TOKEN: TOKEN, LANDFALL_CA_FILE: caFile },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const said = text(child.stderr)
  await once(child.stdout, 'data')
  child.stdout.destroy()
  const [code] = await once(child, 'exit')
  t.equal(code, 0)
  t.equal(await said, '')
})

t.test('what cannot be written is a failure', async (t) => {
  const { url, caFile } = await scriptedCliFor(t, () => ({ body: { vms: [{ name: 'web' }] } }))
  const program = `import { runCli } from ${JSON.stringify(CLI)}
const { env, stdin, stdout, stderr } = process
process.exitCode = await runCli(['vm', 'list'], { env, stdin, stdout, stderr, signal: new AbortController().signal })`
  const full = openSync('/dev/full', 'w')
  t.teardown(() => closeSync(full))
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], {
    env: { ...process.env, LANDFALL_API: url, LANDFALL_TOKEN: TOKEN, LANDFALL_CA_FILE: caFile },
    stdio: ['ignore', full, 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const said = text(child.stderr as Readable)
  const [code] = await once(child, 'exit')
  t.equal(code, 6)
  t.match(await said, /cannot be written\n {2}.*ENOSPC/)
})

t.test('a write that fails late is a failure as well', async (t) => {
  const { url, caFile } = await scriptedCliFor(t, () => ({ body: { vms: [{ name: 'web' }] } }))
  const stdout = new Writable({
    write: (_chunk, _encoding, done) => void setTimeout(() => done(new Error('the disk is full')), 20),
  })
  const stderr = new PassThrough()
  const env = { LANDFALL_API: url, LANDFALL_TOKEN: TOKEN, LANDFALL_CA_FILE: caFile }
  const { signal } = new AbortController()
  t.equal(await runCli(['vm', 'list'], { env, stdin: Readable.from([]), stdout, stderr, signal }), 6)
  t.match(stderr.end() && (await text(stderr)), 'the disk is full')
})

t.test('a progress line is as long as the terminal at most', async (t) => {
  const { cli } = await scriptedCliFor(t, () => problem(404, 'x'))
  const { stderr } = await cli(['vm', 'new', 'x'.repeat(200)], { columns: 50 })
  const [, drawn = ''] = stderr.split('\r\u001b[K')
  t.match(drawn, /^x+… 0 s$/)
  t.ok(drawn.length < 50)
})

t.test('Ctrl-C ends a command that reads standard input', async (t) => {
  const interrupt = new AbortController()
  const line = ['login', '--api', 'https://admin.example.test', '--token-stdin']
  const stdin = new PassThrough()
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const running = runCli(line, { env: {}, stdin, stdout, stderr, signal: interrupt.signal })
  interrupt.abort()
  t.equal(await running, 130)
})

t.test('Ctrl-C is told by the exit code alone', async (t) => {
  const { cli } = await scriptedCliFor(t, () => undefined)
  const interrupt = new AbortController()
  const running = cli(['vm', 'list'], { signal: interrupt.signal })
  interrupt.abort()
  t.match(await running, { code: 130, stdout: '', stderr: '' })
})
