/** `landfall image` from the shell: builds, lists and removes below the data folder. */

import { execFile } from 'node:child_process'
import { mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { ensureImages } from '../../images.ts'
import { checkPrograms } from '../../sidecar/guests/build-programs.ts'
import { createTemplates } from '../../sidecar/guests/template-store.ts'
import { folderFor } from '../helpers/folder.ts'

const MAIN = fileURLToPath(new URL('../../main.ts', import.meta.url))
t.setTimeout(100_000)
/** Of both tests: boot files take most of the time, and are made once. */
const DATA = folderFor(t)

function landfall(data: string, ...line: string[]) {
  const env = { PATH: process.env.PATH ?? '', LANDFALL_DATA: data }
  return new Promise<{ code: unknown; stdout: string; stderr: string }>((resolve) => {
    execFile(process.execPath, [MAIN, ...line], { env }, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, stdout, stderr }),
    )
  })
}

t.test('builds an image that a host finds, keeps it while a VM stands on it, and removes it', async (t) => {
  const data = DATA
  const built = await landfall(data, 'image', 'build', 'small', '--name', 'mine')
  t.match(built, {
    code: 0,
    stdout: 'mine\n',
    stderr: /kernel, initramfs and tools\n[\s\S]*root file system/,
  })
  const { digest, kernelFile, config } = await createTemplates(data).get('mine')
  t.same(config, { init: 'own' })
  t.ok(statSync(kernelFile).size > 1_000_000)
  t.match(
    (await landfall(data, 'image', 'list')).stdout,
    new RegExp(`^mine +.* 20 GiB +${digest.slice(0, 12)}$`, 'm'),
  )

  mkdirSync(join(data, 'vms/x'), { recursive: true })
  const disk = join(data, 'vms/x/disk.json')
  writeFileSync(disk, JSON.stringify({ template: `templates/${digest}/root.img` }))
  t.match(await landfall(data, 'image', 'remove', 'mine'), { code: 5, stderr: /stands on/ })
  writeFileSync(disk, '{}')
  t.match(await landfall(data, 'image', 'remove', 'mine'), { code: 0 })
  t.match(await landfall(data, 'image', 'remove', 'mine'), { code: 1, stderr: /has none yet/ })
})

t.test('what is missing is built at the first start, and not again', async (t) => {
  const folder = DATA
  const steps: string[] = []
  const ensure = () => ensureImages(['hello'], { folder, env: process.env }, (line) => steps.push(line))
  await ensure()
  const { rootFile, config } = await createTemplates(folder).get('hello')
  t.equal(config.port, 8000)
  t.ok(steps.length > 1)
  const { ctimeMs } = statSync(rootFile)
  steps.length = 0
  await ensure()
  t.same(steps, [])
  t.equal(statSync(rootFile).ctimeMs, ctimeMs)
  await t.rejects(
    ensureImages(['nothing'], { folder, env: process.env }, () => undefined),
    {
      code: 'image_build_failed',
      message: /none of hello, small, debian/,
    },
  )
})

t.test('says which Debian package is missing', async (t) => {
  const empty = folderFor(t)
  await t.rejects(checkPrograms(['skopeo', 'umoci', 'mke2fs', 'debugfs'], [empty]), {
    message: /apt-get install skopeo umoci e2fsprogs\)/,
  })
  await checkPrograms(['skopeo', 'umoci', 'mke2fs', 'debugfs'])
})
