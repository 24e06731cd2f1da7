/** `landfall image`: what is asked of the machine's images, and what is printed. */

import { PassThrough, Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { runCli } from '../../cli/cli.ts'
import type { ImageTools, ImageWanted } from '../../cli/image-tools.ts'
import { SidecarError } from '../../sidecar/errors.ts'
import { cliFor } from './cli-process.ts'

const HELLO = {
  name: 'hello',
  digest: 'ab'.repeat(32),
  sizeBytes: 20 * 2 ** 30,
  usedBytes: 4_718_592,
  port: 8000,
}
const APP = { name: 'host/app:1', digest: 'cd'.repeat(32), sizeBytes: 2 ** 30, usedBytes: 1_048_576 }

function imagesFor(_t: Test) {
  const asked: (string | ImageWanted)[] = []
  const images: ImageTools = {
    build: async (wanted, say) => {
      asked.push(wanted)
      say('making it')
      return HELLO
    },
    list: async () => [HELLO, APP],
    remove: async (name) => {
      asked.push(name)
      if (name === 'none') throw new SidecarError('vm_image_unknown', { detail: 'it has hello' })
    },
  }
  const run = async (...line: string[]) => {
    const [stdout, stderr] = [new PassThrough(), new PassThrough()]
    const code = await runCli(line, {
      ...{ env: {}, stdin: Readable.from(''), stdout, stderr, images },
      signal: new AbortController().signal,
    })
    return { code, stdout: String(stdout.read() ?? ''), stderr: String(stderr.read() ?? '') }
  }
  return { asked, run }
}

t.test(
  'builds what is asked for, with its steps on standard error and its name on standard output',
  async (t) => {
    const { asked, run } = imagesFor(t)
    t.same(await run('image', 'build', 'hello'), { code: 0, stdout: 'hello\n', stderr: 'making it\n' })
    await run('image', 'build', '--oci', 'alpine:3.20', '--name', 'alpine')
    await run('image', 'build', 'small', '--name', 'mine')
    t.same(asked, [
      { kind: 'hello' },
      { oci: 'alpine:3.20', name: 'alpine' },
      { kind: 'small', name: 'mine' },
    ])
    t.same(JSON.parse((await run('image', 'build', 'hello', '--json')).stdout), HELLO)
  },
)

t.test('refuses a build of nothing, of two things, of what there is not, and without a name', async (t) => {
  const { asked, run } = imagesFor(t)
  const lines = [
    [],
    ['hello', '--oci', 'x', '--name', 'y'],
    ['helo'],
    ['--oci', 'x'],
    ['--oci', '', '--name', 'x'],
  ]
  for (const line of lines) t.equal((await run('image', 'build', ...line)).code, 2, line.join(' '))
  t.same(asked, [])
})

t.test('lists images as a table and as JSON', async (t) => {
  const { run } = imagesFor(t)
  const { stdout } = await run('image', 'list')
  t.same(
    stdout
      .trim()
      .split('\n')
      .map((line) => line.split(/\s{2,}/)),
    [
      ['IMAGE', 'TAKES', 'DISK', 'PORT', 'DIGEST'],
      ['hello', '4.5 MiB', '20 GiB', '8000', 'abababababab'],
      ['host/app:1', '1 MiB', '1 GiB', 'cdcdcdcdcdcd'],
    ],
  )
  t.same(JSON.parse((await run('image', 'list', '--json')).stdout), [HELLO, APP])
})

t.test('removes an image, and says what there is when it is not there', async (t) => {
  const { asked, run } = imagesFor(t)
  t.same(await run('image', 'remove', 'hello'), { code: 0, stdout: '', stderr: 'removed hello\n' })
  t.same(JSON.parse((await run('image', 'remove', 'hello', '--json')).stdout), { deleted: ['hello'] })
  t.match(await run('image', 'remove', 'none'), { code: 1, stderr: /no such image[\s\S]*it has hello/ })
  t.same(asked, ['hello', 'hello', 'none'])
})

t.test('where there are no tools for images, as in a test, it says so', async (t) => {
  const cli = cliFor(t)
  t.match(await cli(['image', 'list']), { code: 2, stderr: /program "landfall" alone/ })
})
