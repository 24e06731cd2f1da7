/** The command line as a user runs it, against a `landfall dev` that runs beside it. */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { type CliOptions, type CliResult, cliFor } from '../cli/cli-process.ts'
import { folderFor } from '../helpers/folder.ts'
import { type Landfall, landfallFor } from '../helpers/landfall.ts'
import { until } from '../helpers/until.ts'

const MAIN = fileURLToPath(new URL('../../main.ts', import.meta.url))
const run = promisify(execFile)

type Run = (line: string, options?: CliOptions) => Promise<CliResult>

/** The command line in this process, with no environment but the data folder of a running instance. */
function runFor(t: Test, { dataFolder }: Pick<Landfall, 'dataFolder'>): Run {
  const cli = cliFor(t, { LANDFALL_DATA: dataFolder })
  return (line, options) => cli(line.split(' '), options)
}

/** `landfall …` as a process of its own. */
function processFor(t: Test, { dataFolder }: Pick<Landfall, 'dataFolder'>, line: string) {
  const { PATH, NODE_COMPILE_CACHE } = process.env
  const child = spawn(process.execPath, [MAIN, ...line.split(' ')], {
    cwd: folderFor(t),
    env: { PATH, NODE_COMPILE_CACHE, LANDFALL_DATA: dataFolder },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = once(child, 'close').then(([code]) => ({ code }))
  return { child, ended, stdout: collect(child.stdout), stderr: collect(child.stderr) }
}

function collect(stream: ChildProcess['stdout']): () => string {
  let text = ''
  stream?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  return () => text
}

async function statusOf({ caFile }: Landfall, url: string): Promise<number> {
  const { stdout } = await run('curl', [
    '-s',
    '-o',
    '/dev/null',
    '-w',
    '%{http_code}',
    '--cacert',
    caFile,
    url,
  ])
  return Number(stdout)
}

t.test('vm new returns when the URL answers, and prints the URL alone', async (t) => {
  const landfall = await landfallFor(t)
  const cli = runFor(t, landfall)
  const { ended, stdout, stderr } = processFor(t, landfall, 'vm new web')
  t.equal((await ended).code, 0, stderr())
  const url = stdout().trim()
  t.equal(stdout(), `https://web.localhost:${landfall.httpsPort}/\n`)
  t.match(stderr(), /^web: making the VM\n/)
  t.equal(await statusOf(landfall, url), 401, 'it is private, and it is there')
  const open = await cli('vm new open --public --comment shop')
  t.equal(await statusOf(landfall, open.stdout.trim()), 200)
  const named = await cli('vm new')
  t.match(named.stdout, /^https:\/\/[a-z0-9-]+\.localhost:\d+\/\n$/)
  t.equal(await statusOf(landfall, named.stdout.trim()), 401)
  t.match((await cli('vm list')).stdout, /^web +running +default +hello +https:\/\/web\.localhost/m)
  t.match((await cli('vm show open')).stdout, /^comment +shop$/m)
  t.match(
    await cli('domain check localhost'),
    { code: 0, stdout: /^unknown +ca /m },
    'the platform has a check too',
  )
  t.match(await cli('port set web 8000 --public --default'), { code: 0, stdout: stdout() })
  await until(async () => (await statusOf(landfall, url)) === 200, 'everybody may come')
  t.match(await cli('vm stop web'), { code: 0, stdout: 'web\n', stderr: /vm web: stopped\n$/ })
  t.equal(await statusOf(landfall, url), 503)
  t.match(await cli('vm start web'), { code: 0, stdout: 'web\n' })
  t.match(await cli('vm delete web open'), { code: 0, stdout: '', stderr: 'deleted web\ndeleted open\n' })
  t.equal((await cli('vm show web')).code, 4)
  const again = await cli(`vm new ${new URL(named.stdout).hostname.split('.')[0]}`)
  t.equal(again.code, 5, 'what is there is left as it is')
})

t.test('every noun reads from the real API', async (t) => {
  const cli = runFor(t, await landfallFor(t))
  const cases: [string, RegExp][] = [
    ['pool list', /^default +\d/m],
    ['pool show default', /^host +local$/m],
    ['vm list --pool default', /^hello +running/m],
    ['port list hello', /^8000 +public +yes +edge +yes +https/m],
    ['route list --vm hello', /^hello\.localhost +hello:8000 +public +running/m],
    ['route show hello.localhost', /^target +hello:8000$/m],
    ['usage default --from 1d', /^total /m],
    ['host list', /^local +yes/m],
    ['host show local', /^images +.*hello/m],
    ['edge list', /^landfall +yes/m],
    ['edge show landfall', /^alive +yes$/m],
    ['status', /^store +isReachable yes/m],
    ['whoami', /^id +bootstrap$/m],
    ['__complete vms', /^hello\n$/],
  ]
  for (const [line, expected] of cases) {
    const { code, stdout, stderr } = await cli(line)
    t.equal(code, 0, `${line}: ${stderr}`)
    t.match(stdout, expected, line)
    const { stdout: json } = await cli(`${line} --json`)
    if (!line.startsWith('__')) t.ok(JSON.parse(json), line)
  }
  for (const line of ['domain list', 'token list', 'key list', 'grant list hello']) {
    t.match(await cli(line), { code: 0, stdout: '' }, line)
  }
})

t.test('every noun writes to the real API', async (t) => {
  const cli = runFor(t, await landfallFor(t))
  const lines: [string, RegExp | string][] = [
    ['pool new small --cpus 0.5 --memory 64M --disk 1G', 'small\n'],
    ['pool set small --memory 128M', 'small\n'],
    ['vm set hello --comment greeter', 'hello\n'],
    ['route set app.localhost --upstream 127.0.0.1:9 --public', 'app.localhost\n'],
    ['route set other.localhost --vm hello', 'other.localhost\n'],
    ['route delete app.localhost', ''],
    ['domain add www.example.org hello', /^state +pending$/m],
    ['domain add shop.example.org hello --proven', /^state +proven$/m],
    ['domain delete www.example.org', ''],
    ['grant add hello ann@example.org --port 8000 --expires 7d', /^[\w-]+\n$/],
    ['grant list hello', /email:ann@example\.org +viewer +8000/],
    ['port set hello 9000 --private', /9000--hello\.localhost/],
    ['port delete hello 9000', ''],
    ['audit list', /update +vm\/hello/],
    ['table accept --yes', ''],
    ['pool delete small', ''],
  ]
  for (const [line, expected] of lines) {
    const { code, stdout, stderr } = await cli(line)
    t.equal(code, 0, `${line}: ${stderr}`)
    t.match(stdout, expected, line)
  }
  const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ann@laptop'
  const id = (await cli('key add ann@example.org -', { stdin: key })).stdout.trim()
  t.match((await cli('key list')).stdout, id)
  t.equal((await cli('key add ann@example.org -', { stdin: key })).code, 5)
  t.equal((await cli(`key delete ${id}`)).code, 0)
})

t.test('a token of a pool can do what its scope says, and exit codes tell the rest', async (t) => {
  const landfall = await landfallFor(t)
  const cli = runFor(t, landfall)
  const { stdout, stderr } = await cli('token new --scope default:read,write --label deploy --expires 1d')
  const id = /^token (\w+):/.exec(stderr)?.[1] ?? ''
  const api = `https://admin.localhost:${landfall.httpsPort}`
  const login = `login --api ${api} --token-stdin --ca-file ${landfall.caFile}`
  const home = { env: { XDG_CONFIG_HOME: folderFor(t), LANDFALL_DATA: '' } }
  t.equal((await cli('whoami', home)).code, 3, 'nothing is known yet')
  t.equal((await cli(login, { ...home, stdin: 'lf_wrong' })).code, 3)
  t.equal((await cli(login, { ...home, stdin: stdout })).code, 0)
  t.match((await cli('whoami', home)).stdout, /^scopes +default:read,write$/m)
  const codes: [string, number][] = [
    ['vm list', 0],
    ['vm set hello --comment x', 0],
    ['pool delete default', 3],
    ['grant add hello ann@example.org', 3],
    ['vm show nothing', 4],
    ['vm new admin', 5],
    ['vm new fine --pool nothing', 3],
    ['vm new Bad_Name', 1],
    ['vm frobnicate', 2],
  ]
  for (const [line, code] of codes) {
    const answer = await cli(line, home)
    t.equal(answer.code, code, `${line}: ${answer.stderr}`)
    if (code > 2) t.match(answer.stderr, /^ {2}next: .+\n {2}\(api_[a-z_]+, request [0-9a-f]+\)\n$/m, line)
  }
  t.equal((await cli(`token delete ${id}`)).code, 0)
  t.equal((await cli('vm list', home)).code, 3, 'it ended at once')
  landfall.signal('SIGTERM')
  await landfall.exited
  const gone = await cli('vm list')
  t.equal(gone.code, 6)
  t.match(gone.stderr, /see whether "landfall dev" runs/)
})

t.test('events are followed until Ctrl-C', async (t) => {
  const landfall = await landfallFor(t)
  const cli = runFor(t, landfall)
  const { child, ended, stdout, stderr } = processFor(t, landfall, 'events --json --follow 1')
  await cli('vm set hello --comment seen')
  await until(() => stdout().includes('"comment":"seen"'), 'the change is told')
  child.kill('SIGINT')
  t.equal((await ended).code, 130)
  t.equal(stderr(), '')
  const events = stdout()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  t.ok(events.some(({ kind, name, action }) => kind === 'vm' && name === 'hello' && action === 'put'))
})

t.test('the page for agents is the same from both sides', async (t) => {
  const landfall = await landfallFor(t)
  const { stdout } = await runFor(t, landfall)('help --agent')
  const url = `https://admin.localhost:${landfall.httpsPort}/llms.txt`
  const served = await run('curl', ['-s', '--cacert', landfall.caFile, url])
  t.equal(stdout, served.stdout)
  t.match(stdout, `API: https://admin.localhost:${landfall.httpsPort}, JSON`)
})

t.test('main.ts leaves to the commands what has more than the name of a server', async (t) => {
  const nowhere = { dataFolder: join(folderFor(t), 'none') }
  const [help, extra, none] = ['dev --help', 'host lst', 'vm list'].map((line) =>
    processFor(t, nowhere, line),
  )
  t.equal((await help?.ended)?.code, 0)
  t.match(help?.stdout(), /^usage: landfall dev\n/)
  t.equal((await extra?.ended)?.code, 2)
  t.match(extra?.stderr(), /Did you mean "list"/)
  t.equal((await none?.ended)?.code, 3)
  t.match(none?.stderr(), 'cli_not_connected')
})
