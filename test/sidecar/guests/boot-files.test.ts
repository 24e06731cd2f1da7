/** The files that guests boot with are built once, as a whole, by whoever comes first, and need no rights. */

import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { buildBootFiles, findBootFiles } from '../../../sidecar/guests/boot-files.ts'
import { buildHelloTree } from '../../../sidecar/guests/small-image.ts'
import { folderFor } from '../../helpers/folder.ts'
import { findGuestObstacle } from '../../helpers/guests.ts'

const obstacle = await findGuestObstacle()
const skip = obstacle === undefined ? {} : { skip: obstacle }

const debugfs = (image: string, request: string) =>
  spawnSync('debugfs', ['-R', request, image], { encoding: 'utf8' }).stdout

t.test(
  'two builders at once make one set of files, which the next finds',
  { timeout: 110_000, ...skip },
  async (t) => {
    const folder = folderFor(t)
    const left = join(folder, 'boot/.new-killed')
    mkdirSync(left, { recursive: true })
    utimesSync(left, 1, 1)
    const [one, other] = await Promise.all([buildBootFiles(folder), buildBootFiles(folder)])
    t.same(one, other)
    t.match(one.digest, /^[0-9a-f]{64}$/)
    t.same(readdirSync(join(folder, 'boot')), [one.digest], 'nothing is left beside them')
    t.same(await findBootFiles(folder, one.digest), one)
    t.equal(await findBootFiles(folder, 'f'.repeat(64)), undefined)

    const steps: string[] = []
    const { mtimeMs, mode } = statSync(one.toolsFile)
    t.same(await buildBootFiles(folder, { progress: (step) => steps.push(step) }), one)
    t.equal(statSync(one.toolsFile).mtimeMs, mtimeMs)
    t.equal(mode & 0o777, 0o444)
    t.notOk(steps.some((step) => step.includes('kernel') && step.startsWith('unpacking')))

    t.equal(readFileSync(one.kernelFile).toString('latin1', 0, 4), '\x7fELF')
    t.match(debugfs(one.toolsFile, 'stat /bin/dropbear'), /Mode: +0755 [\s\S]*User: +0 +Group: +0/)
    t.notMatch(debugfs(one.toolsFile, 'stats'), /has_journal/)

    const tree = join(folder, 'hello')
    const { config } = await buildHelloTree(tree, one)
    t.match(config, { init: 'own', port: 8000 })
    t.match(readFileSync(join(tree, 'etc/passwd'), 'utf8'), /^root:x:0:0:/)
    t.match(readFileSync(join(tree, 'etc/landfall/start'), 'utf8'), /exec \/usr\/sbin\/httpd .*-p 8000/)
  },
)

t.test(
  'without what it needs, a build says what is missing and leaves nothing',
  { timeout: 60_000 },
  async (t) => {
    const folder = folderFor(t)
    const ended = AbortSignal.abort()
    await t.rejects(buildBootFiles(folder, { signal: ended }), { code: 'command_failed' })
    t.same(readdirSync(join(folder, 'boot')), [])
  },
)
