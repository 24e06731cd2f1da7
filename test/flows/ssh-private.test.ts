/** SSH to a private port 22: the system's own ssh through the edge, with a token of the API that may share, and while it lasts. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { adminCallOf } from '../helpers/admin-call.ts'
import { edgeFor } from '../helpers/edge.ts'
import { fakeHostFor } from '../helpers/fake-host.ts'
import { folderFor } from '../helpers/folder.ts'
import { lostTimeFor } from '../helpers/lost-time.ts'
import { missingSsh, sshdFor } from '../helpers/sshd.ts'
import { until } from '../helpers/until.ts'

const MAIN = fileURLToPath(new URL('../../main.ts', import.meta.url))
const skip = missingSsh()
/** The issue says one second; a process has to end as well. */
const LIMIT_MS = 3_000

/** A VM `amber` of the pool `default` with a private port 22, behind which is a real sshd. */
async function sceneFor(t: Test) {
  const [edge, sshd] = [await edgeFor(t), await sshdFor(t)]
  const host = await fakeHostFor(t, edge, {
    vm: 'amber',
    ports: { 22: sshd.port, 8000: 1 },
    visibility: 'private',
  })
  await host.report('running', { hostKey: sshd.hostKey })
  const admin = adminCallOf(edge)
  const tokenWith = async (...verbs: string[]) => {
    const scopes = [{ pool: 'default', verbs }]
    const { status, json } = await admin('POST', '/v1/tokens', { label: 'ssh', scopes })
    if (status !== 201) throw new Error(`no token: ${status} ${JSON.stringify(json)}`)
    return { id: String(json.id), token: String(json.token) }
  }
  const home = folderFor(t)
  const env = {
    PATH: process.env.PATH,
    HOME: home,
    LANDFALL_API: `https://admin.localhost:${edge.httpsPort}`,
    LANDFALL_CA_FILE: edge.caFile,
  }
  const start = (token: string, ...words: string[]) => {
    const child = spawn(process.execPath, [MAIN, ...words], { env: { ...env, LANDFALL_TOKEN: token } })
    t.teardown(() => void child.kill('SIGKILL'))
    return child
  }
  const ssh = (...words: string[]) => ['ssh', '--identity', sshd.identity, `${sshd.user}@amber`, ...words]
  return { edge, admin, tokenWith, start, ssh }
}

async function ended(child: ChildProcess & { stdin: object | null }) {
  const { stdin, stdout, stderr } = child
  stdin?.end()
  const said = [stdout, stderr].map((stream) => (stream === null ? '' : text(stream)))
  const [out, err] = await Promise.all([...said, once(child, 'close')])
  return { code: child.exitCode, stdout: String(out), stderr: String(err) }
}

t.test('a token that may share gets in, with ssh and with a bare tunnel', { skip }, async (t) => {
  const { edge, tokenWith, start, ssh } = await sceneFor(t)
  const { id, token } = await tokenWith('read', 'share')
  const result = await ended(start(token, ...ssh('echo', '$((6*7)); exit 7')))
  t.match(result, { code: 7, stdout: '42\n', stderr: '' })
  const tunnel = start(token, 'tunnel', 'amber')
  const [banner] = (await once(tunnel.stdout, 'data')) as [Buffer]
  t.match(banner.toString(), /^SSH-2\.0-/)
  tunnel.stdin.end()
  await until(() => edge.accessLog.some(({ auth }) => auth !== undefined), 'the log line')
  const line = edge.accessLog.find(({ vm_id: vm, status }) => vm === 'amber' && status === 200)
  t.match(line, { sub: `api:${id}`, vm_id: 'amber' })
  t.notMatch(JSON.stringify(edge.accessLog), token)
})

t.test(
  'a token that may not share is refused before ssh begins, and told what to do',
  { skip },
  async (t) => {
    const { edge, tokenWith, start, ssh } = await sceneFor(t)
    const reader = await tokenWith('read', 'write')
    const refused = await ended(start(reader.token, 'tunnel', 'amber'))
    t.match(refused, { code: 3, stdout: '', stderr: /landfall token new --scope default:read,share/ })
    const overSsh = await ended(start(reader.token, ...ssh('echo', 'reached')))
    t.equal(overSsh.code, 255)
    t.equal(overSsh.stdout, '')
    t.match(overSsh.stderr, /landfall token new --scope default:read,share/)
    const stranger = `lf_${'A'.repeat(12)}_${'A'.repeat(43)}`
    t.match(await ended(start(stranger, 'tunnel', 'amber')), { code: 3, stdout: '' })
    const reached = edge.accessLog.filter(({ vm_id: vm, status }) => vm === 'amber' && status === 200)
    t.same(reached, [])
  },
)

t.test(
  'a session that runs is cut when its token is deleted, and another one is not',
  { skip },
  async (t) => {
    const { admin, tokenWith, start, ssh } = await sceneFor(t)
    const [gone, stays] = [await tokenWith('read', 'share'), await tokenWith('read', 'share')]
    const sessions = [gone, stays].map(({ token }) => start(token, ...ssh('echo up; cat')))
    const [cut, other] = sessions as [(typeof sessions)[number], (typeof sessions)[number]]
    const heard = { cut: '', other: '' }
    cut.stdout.on('data', (chunk: Buffer) => {
      heard.cut += chunk
    })
    other.stdout.on('data', (chunk: Buffer) => {
      heard.other += chunk
    })
    await until(() => heard.cut === 'up\n' && heard.other === 'up\n', 'both sessions run')
    t.equal((await admin('DELETE', `/v1/tokens/${gone.id}`)).status, 204)
    const lostMs = lostTimeFor(t)
    const deletedAt = performance.now()
    await until(() => cut.exitCode !== null, 'the session ends')
    const tookMs = Math.round(performance.now() - deletedAt)
    t.equal(cut.exitCode, 255)
    t.ok(tookMs < LIMIT_MS + lostMs(), `the session ends within ${LIMIT_MS} ms (${tookMs})`)
    other.stdin.write('still here\n')
    await until(() => heard.other === 'up\nstill here\n', 'the other session goes on')
    t.match(await ended(start(gone.token, ...ssh('echo', 'again'))), { stdout: '' })
  },
)
