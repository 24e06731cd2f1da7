/** OCI images become templates, and hostile ones do nothing to the machine that builds them. */

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { buildOciImage, type OciBuild } from '../../../sidecar/guests/oci-image.ts'
import { createTemplates } from '../../../sidecar/guests/template-store.ts'
import { folderFor } from '../../helpers/folder.ts'
import { type OciSpec, type TarEntry, toTar, writeOciLayout } from './oci-files.ts'

const BOOT = 'b'.repeat(64)
const PASSWD = { name: 'etc/passwd', text: 'root:x:0:0::/root:/bin/sh\napp:x:7:8::/srv:/bin/sh\n' }
const MIB = 1_048_576
t.setTimeout(100_000)

function builderFor(t: Test) {
  const folder = folderFor(t)
  const data = join(folder, 'data')
  const store = createTemplates(data)
  const build = (reference: string, rest: Partial<OciBuild> = {}) =>
    buildOciImage(store, { reference, name: 'app', boot: BOOT, env: {}, say: () => undefined, ...rest })
  const layout = (spec: OciSpec) => writeOciLayout(join(folder, `layout-${readdirSync(folder).length}`), spec)
  return {
    ...{ folder, data, build, layout },
    buildLayers: (...layers: TarEntry[][]) => build(layout({ layers: layers.map(toTar) })),
    /** What a refused build leaves: nothing. */
    left: () => (existsSync(join(data, 'templates')) ? readdirSync(join(data, 'templates')) : []),
  }
}

const inspect = (file: string, request: string) =>
  execFileSync('debugfs', ['-R', request, file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })

t.test('reads a folder, an OCI archive and an archive of Docker, by path or with their kind', async (t) => {
  const { folder, build, layout } = builderFor(t)
  const path = layout({ layers: [toTar([PASSWD])], config: { Cmd: ['/bin/x'] } })
  const archive = join(folder, 'app.tar')
  const docker = join(folder, 'with:colon.tar')
  execFileSync('skopeo', ['copy', '-q', `oci:${path}`, `oci-archive:${archive}`])
  execFileSync('skopeo', ['copy', '-q', `oci:${path}`, `docker-archive:${join(folder, 'd.tar')}:name:tag`])
  execFileSync('mv', [join(folder, 'd.tar'), docker])
  const digests = []
  for (const reference of [
    path,
    `oci:${path}`,
    archive,
    `oci-archive:${archive}`,
    docker,
    `docker-archive:${docker}:name:tag`,
  ]) {
    const template = await build(reference)
    t.same(template.config.command, ['/bin/x'], reference)
    digests.push(template.digest)
  }
  t.equal(new Set(digests).size, 1, 'all of them are the same image')
})

t.test('lays layers over one another, with deletions and owners', async (t) => {
  const { buildLayers } = builderFor(t)
  const { rootFile } = await buildLayers(
    [
      PASSWD,
      { name: 'old', text: 'x' },
      { name: 'file', text: 'one' },
      { name: 'dir/', type: '5' },
      { name: 'dir/in', text: 'x' },
    ],
    [
      { name: '.wh.old' },
      { name: 'file', text: 'two', uid: 1234, gid: 70_000, mode: 0o4750 },
      { name: 'dir/.wh..wh..opq' },
    ],
  )
  t.equal(inspect(rootFile, 'cat /file'), 'two')
  t.match(inspect(rootFile, 'stat /file'), /Mode: +04750[\s\S]*User: +1234 +Group: +70000/)
  t.notMatch(inspect(rootFile, 'ls /'), /\bold\b/)
  t.notMatch(inspect(rootFile, 'ls /dir'), /\bin\b/)
})

t.test('writes how the command is started, and which init runs it', async (t) => {
  const { build, layout } = builderFor(t)
  const config = { Entrypoint: ['/run'], Cmd: ["it's"], User: 'app', WorkingDir: 'job/here', Env: ['A=b'] }
  const { rootFile, config: result } = await build(layout({ layers: [toTar([PASSWD])], config }))
  const start = inspect(rootFile, 'cat /etc/landfall/start')
  t.match(start, "cd '/job/here'")
  t.match(start, "'--reuid' '7' '--regid' '8' '--clear-groups' '--' '/run' 'it'\\''s'\n")
  t.match(inspect(rootFile, 'stat /etc/landfall/start'), /Mode: +0755/)
  t.equal(inspect(rootFile, 'cat /etc/landfall/init'), 'own\n')
  t.match(inspect(rootFile, 'stat /job/here'), /Type: directory/, 'made, as Docker does')
  t.match(result, {
    user: 'app',
    workingFolder: '/job/here',
    environment: { A: 'b', HOME: '/srv', PATH: /^\/usr/ },
  })
  const system = await build(
    layout({ layers: [toTar([PASSWD, { name: 'sbin/init', text: '' }])], config: { Cmd: ['/sbin/init'] } }),
  )
  t.equal(system.config.init, 'system')
  t.equal(inspect(system.rootFile, 'cat /etc/landfall/init'), 'system\n')
  await t.rejects(build(layout({ layers: [toTar([PASSWD])], config: { Cmd: ['/sbin/init'] } })), {
    message: /does not have/,
  })
})

t.test('no path of a layer leads out of the tree', async (t) => {
  const { folder, buildLayers, left } = builderFor(t)
  const outside = join(folder, 'outside')
  mkdirSync(outside)
  writeFileSync(join(outside, 'kept'), 'kept')
  const attacks: TarEntry[][][] = [
    [[{ name: '../../../../../../outside/new', text: 'x' }]],
    [[{ name: `${outside}/new`, text: 'x' }]],
    [
      [
        { name: 'out', type: '2', link: outside },
        { name: 'out/new', text: 'x' },
      ],
    ],
    [[{ name: 'out', type: '2', link: outside }], [{ name: 'out/new', text: 'x' }, { name: 'out/.wh.kept' }]],
    [[{ name: 'out', type: '2', link: '../../../../outside' }, { name: 'out/.wh..wh..opq' }]],
    [[{ name: 'hard', type: '1', link: `${outside}/kept` }], [{ name: 'hard', text: 'changed' }]],
    [
      [
        { name: '.', type: '2', link: outside },
        { name: 'new', text: 'x' },
      ],
    ],
    [
      [
        { name: '/', type: '2', link: outside },
        { name: 'new', text: 'x' },
      ],
    ],
    [[{ name: 'etc', type: '2', link: outside }]],
    [[{ name: 'etc/landfall', type: '2', link: outside }]],
    [
      [
        { name: 'etc/landfall/start', type: '2', link: join(outside, 'kept') },
        { name: 'etc/landfall/init', type: '2', link: join(outside, 'kept') },
      ],
    ],
    [
      [
        { name: 'etc/landfall/init/', type: '5' },
        { name: 'etc/landfall/init/x', text: '' },
      ],
    ],
    [[{ name: 'etc/passwd', type: '2', link: '/etc/shadow' }]],
    [
      [
        { name: 'a', type: '2', link: 'b' },
        { name: 'b', type: '2', link: 'a' },
        { name: 'etc', type: '2', link: 'a' },
      ],
    ],
  ]
  for (const [at, layers] of attacks.entries()) {
    await buildLayers(...layers).catch((error) => t.equal(error.code, 'image_build_failed', error.message))
    t.same(readdirSync(outside), ['kept'], `attack ${at}`)
    t.equal(readFileSync(join(outside, 'kept'), 'utf8'), 'kept', `attack ${at}`)
    t.same(
      left().filter((name) => name.startsWith('.')),
      [],
      'nothing is left of the build',
    )
  }
})

t.test('devices, pipes and setuid programs are files of the guest alone', async (t) => {
  const { buildLayers, data } = builderFor(t)
  const { rootFile } = await buildLayers([
    PASSWD,
    { name: 'disk', type: '4', mode: 0o666 },
    { name: 'memory', type: '3', mode: 0o666 },
    { name: 'pipe', type: '6' },
    { name: 'su', text: 'x', mode: 0o4755 },
  ])
  t.match(inspect(rootFile, 'stat /pipe'), /Type: FIFO/)
  t.match(inspect(rootFile, 'stat /su'), /Mode: +04755/)
  t.same(
    readdirSync(join(data, 'templates')).filter((name) => name.startsWith('.')),
    [],
    'none is left on this machine',
  )
})

t.test('an image that unpacks to more than it may is stopped', async (t) => {
  const { build, layout, left } = builderFor(t)
  const limit = { maxBytes: 24 * MIB }
  const big = toTar([{ name: 'zeros', text: Buffer.alloc(40 * MIB) }])
  await t.rejects(build(layout({ layers: [big] }), limit), { code: 'image_build_failed' }, 'one file')
  const many = toTar(Array.from({ length: 40 }, (_, at) => ({ name: `z${at}`, text: Buffer.alloc(MIB) })))
  await t.rejects(build(layout({ layers: [many] }), limit), {
    code: 'image_build_failed',
    message: /takes more than/,
  })
  const lying = toTar([{ name: 'lie', text: 'x', saidSize: 8_589_934_591 }])
  await t.rejects(
    build(layout({ layers: [lying] }), limit),
    { code: 'image_build_failed' },
    'a length that is not there',
  )
  t.same(left(), [])
})

t.test('what is no image is refused', async (t) => {
  const { folder, build, layout, left } = builderFor(t)
  const layers = [toTar([PASSWD])]
  const documents = [
    '',
    '{',
    '[]',
    'null',
    '"x"',
    '{"os":"linux"}',
    JSON.stringify({ os: 'windows', architecture: 'amd64' }),
  ]
  for (const document of documents)
    await t.rejects(build(layout({ layers, document })), { code: 'image_build_failed' }, document)
  const platforms = [
    { os: 'linux', architecture: 'arm64' },
    { os: 'freebsd', architecture: 'amd64' },
  ]
  for (const document of platforms) {
    await t.rejects(
      build(layout({ layers, document })),
      { message: /not for "linux" on "amd64"/ },
      document.os,
    )
  }
  const garbage = join(folder, 'garbage.tar')
  writeFileSync(garbage, Buffer.alloc(2_048, 7))
  const empty = join(folder, 'empty')
  mkdirSync(empty)
  const damaged = layout({ layers })
  writeFileSync(
    join(damaged, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [{ digest: 'sha256:../../../etc/passwd', size: 1 }] }),
  )
  const changed = layout({ layers: [toTar([PASSWD, { name: 'x', text: 'y'.repeat(9_999) }])] })
  for (const name of readdirSync(join(changed, 'blobs/sha256'))) {
    const file = join(changed, 'blobs/sha256', name)
    if (statSync(file).size > 100 && readFileSync(file)[0] === 0x1f)
      writeFileSync(file, Buffer.concat([readFileSync(file), Buffer.from('x')]))
  }
  for (const reference of [
    garbage,
    empty,
    damaged,
    changed,
    '/dev/null',
    join(folder, 'none'),
    './none',
    'oci:none',
    '',
  ]) {
    await t.rejects(build(reference), { code: 'image_build_failed' }, reference)
  }
  t.same(left(), [])
})

t.test('only registries and files are read', async (t) => {
  const { build } = builderFor(t)
  const others = [
    'docker-daemon:x',
    'containers-storage:x',
    'dir:/etc',
    '--policy=x',
    'docker://-x',
    'docker://x y',
    'a b',
    'ostree:x@/y',
    'tarball:/etc/passwd',
  ]
  for (const reference of others) {
    await t.rejects(
      build(reference, { env: { http_proxy: 'http://127.0.0.1:9', https_proxy: 'http://127.0.0.1:9' } }),
      { code: 'image_build_failed' },
      reference,
    )
  }
})
