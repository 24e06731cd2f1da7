/** The store of templates: content decides what a root file system is called. */

import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createTemplates } from '../../../sidecar/guests/template-store.ts'
import { folderFor } from '../../helpers/folder.ts'

const BOOT = 'b'.repeat(64)
const MIB = 1_048_576
const CONFIG = { init: 'own', command: ['/bin/x'], environment: { A: 'b' }, port: 80 } as const

function storeFor(t: Test) {
  const folder = folderFor(t)
  const boot = join(folder, 'boot', BOOT)
  mkdirSync(boot, { recursive: true })
  for (const name of ['vmlinux', 'initramfs', 'tools.img']) writeFileSync(join(boot, name), name)
  return { folder, store: createTemplates(folder), templates: join(folder, 'templates') }
}

/** The same each time, but for when and where it was made. */
function treeFor(t: Test, text = 'text'): string {
  const tree = join(folderFor(t), 'tree')
  mkdirSync(join(tree, 'etc'), { recursive: true })
  mkdirSync(join(tree, 'opt/app'), { recursive: true })
  writeFileSync(join(tree, 'etc/file'), text)
  writeFileSync(join(tree, 'opt/app/run'), '#!/bin/sh\n')
  chmodSync(join(tree, 'opt/app/run'), 0o4755)
  symlinkSync('/etc/file', join(tree, 'link'))
  const time = new Date(1_700_000_000_000)
  for (const path of ['etc/file', 'opt/app/run', 'etc', 'opt/app', 'opt', '.'])
    utimesSync(join(tree, path), time, time)
  execFileSync('touch', ['-h', '-d', '@1700000000', join(tree, 'link')])
  return tree
}

const inspect = (file: string, request: string) =>
  execFileSync('debugfs', ['-R', request, file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })

t.test('packs a tree into a sparse file that is named by what is in it', async (t) => {
  const { store, folder } = storeFor(t)
  const template = await store.packTemplate({ name: 'app', tree: treeFor(t), config: CONFIG, boot: BOOT })
  t.equal(template.rootFile, join(folder, 'templates', template.digest, 'root.img'))
  const stats = statSync(template.rootFile)
  t.equal(stats.mode & 0o777, 0o444)
  t.equal(stats.size, 20 * 1_073_741_824)
  t.ok(stats.blocks * 512 < 8 * MIB, `takes ${stats.blocks * 512} bytes`)
  execFileSync('e2fsck', ['-fn', template.rootFile], { stdio: 'ignore' })
  t.equal(inspect(template.rootFile, 'cat /etc/file'), 'text')
  t.match(inspect(template.rootFile, 'stat /opt/app/run'), /Mode: +04755/)
  t.match(inspect(template.rootFile, 'stat /etc/file'), /User: +0 +Group: +0/)
  t.match(inspect(template.rootFile, 'stat /etc/file'), /mtime: 0x6553f100/)
  // Of the moment of the build nothing is left: 2026-01-01 stands in its place.
  t.match(inspect(template.rootFile, 'stat /etc/file'), /ctime: 0x6955b900:0/)
  t.match(inspect(template.rootFile, 'stat /etc/file'), /atime: 0x6955b900:0/)
  t.match(inspect(template.rootFile, 'stat /'), /ctime: 0x6955b900:0/)
  t.same(await store.get('app'), template)
  t.same(
    readdirSync(join(folder, 'templates')).sort(),
    [template.digest, 'app.json'].sort(),
    'nothing else is left',
  )
})

t.test('the same tree gives the same digest, wherever and whenever it was made', async (t) => {
  const { store } = storeFor(t)
  const pack = (name: string, tree: string) => store.packTemplate({ name, tree, config: CONFIG, boot: BOOT })
  const first = await pack('first', treeFor(t))
  const second = await pack('second', treeFor(t))
  t.equal(second.digest, first.digest)
  t.equal(second.rootFile, first.rootFile)
  const other = await pack('other', treeFor(t, 'texT'))
  t.not(other.digest, first.digest)
  const larger = await store.packTemplate({
    name: 'larger',
    tree: treeFor(t),
    config: CONFIG,
    boot: BOOT,
    sizeBytes: 64 * MIB,
  })
  t.not(larger.digest, first.digest)
  t.equal(statSync(larger.rootFile).size, 64 * MIB)
})

t.test('what the build itself made has no time of its own', async (t) => {
  const { store } = storeFor(t)
  const build = (name: string) => {
    const builtSince = new Date()
    const tree = treeFor(t)
    writeFileSync(join(tree, 'etc/made'), 'now')
    return store.packTemplate({ name, tree, builtSince, config: CONFIG, boot: BOOT })
  }
  const first = await build('first')
  const second = await build('second')
  t.equal(second.digest, first.digest)
  t.match(inspect(first.rootFile, 'stat /etc/made'), /mtime: 0x6955b900/)
  t.match(inspect(first.rootFile, 'stat /etc/file'), /mtime: 0x6553f100/, 'older times stay')
})

t.test('builds at once do each other no harm', async (t) => {
  const { store, templates } = storeFor(t)
  const trees = [treeFor(t), treeFor(t), treeFor(t, 'else')]
  const packed = await Promise.all(
    trees.map((tree) => store.packTemplate({ name: 'app', tree, config: CONFIG, boot: BOOT })),
  )
  t.equal(packed[0]?.digest, packed[1]?.digest)
  const last = await store.get('app')
  t.ok(packed.some(({ digest }) => digest === last.digest))
  for (const { rootFile } of packed) t.ok(existsSync(rootFile))
  t.same(readdirSync(templates).length, 3)
})

t.test('removing one while the same is built leaves a whole image', async (t) => {
  const { store } = storeFor(t)
  const tree = treeFor(t)
  const pack = (name: string) =>
    store.packTemplate({ name, tree, config: CONFIG, boot: BOOT, sizeBytes: 64 * MIB })
  for (let round = 0; round < 8; round += 1) {
    await pack('old')
    await Promise.all([pack('new'), store.remove('old', () => false)])
    const { rootFile } = await store.get('new')
    t.equal(inspect(rootFile, 'cat /etc/file'), 'text', `round ${round}`)
    await store.remove('new', () => false)
  }
})

t.test('a template cannot be changed by who gets it', async (t) => {
  const { store } = storeFor(t)
  await store.packTemplate({ name: 'app', tree: treeFor(t), config: CONFIG, boot: BOOT })
  const template = await store.get('app')
  for (const part of [template, template.config, template.config.command, template.config.environment]) {
    t.ok(Object.isFrozen(part))
  }
  t.same(template.config, CONFIG)
})

t.test('an unknown image is refused with what there is and how it is built', async (t) => {
  const { store } = storeFor(t)
  await t.rejects(store.get('hello'), {
    code: 'vm_image_unknown',
    message: /has none yet.*landfall image build hello$/,
  })
  await store.packTemplate({ name: 'host/app:1', tree: treeFor(t), config: CONFIG, boot: BOOT })
  t.same(await store.list(), ['host/app:1'])
  await t.rejects(store.get('app'), {
    code: 'vm_image_unknown',
    message: /has host\/app:1.*--oci REFERENCE --name app$/,
  })
  for (const name of ['../app', '', '.', '..', 'a/../../b', 'x'.repeat(300), 'a\0b', 'a+b']) {
    await t.rejects(store.get(name), { code: 'vm_image_unknown' }, name)
  }
  await t.rejects(store.packTemplate({ name: '../x', tree: treeFor(t), config: CONFIG, boot: BOOT }), {
    code: 'image_build_failed',
  })
})

t.test('an image whose files are gone or damaged says so', async (t) => {
  const { store, folder, templates } = storeFor(t)
  await store.packTemplate({ name: 'app', tree: treeFor(t), config: CONFIG, boot: BOOT })
  rmSync(join(folder, 'boot', BOOT, 'vmlinux'))
  await t.rejects(store.get('app'), { code: 'vm_image_unknown', message: /vmlinux.*build it again/ })
  const damages = [
    '',
    '{',
    '[]',
    '{"digest":"../../etc"}',
    JSON.stringify({ digest: BOOT, boot: '../x', config: CONFIG, sizeBytes: 1 }),
  ]
  for (const text of damages) {
    writeFileSync(join(templates, 'app.json'), text)
    await t.rejects(store.get('app'), { code: 'image_build_failed', message: /app\.json is damaged/ }, text)
  }
})

t.test('what is removed leaves the disk, unless something stands on it', async (t) => {
  const { store, templates } = storeFor(t)
  const pack = (name: string) => store.packTemplate({ name, tree: treeFor(t), config: CONFIG, boot: BOOT })
  const { digest } = await pack('one')
  await pack('two')
  const asked: string[] = []
  await store.remove('one', (used) => asked.push(used) > 0)
  t.same(asked, [], 'another name keeps it')
  t.same(await store.list(), ['two'])
  t.ok(existsSync(join(templates, digest)))
  await t.rejects(
    store.remove('two', async (used) => used === digest),
    { code: 'vm_image_used' },
  )
  t.equal((await store.get('two')).digest, digest, 'nothing was changed')
  await store.remove('two', () => false)
  t.same(readdirSync(templates), [])
  await t.rejects(
    store.remove('two', () => false),
    { code: 'vm_image_unknown' },
  )
})

t.test('what a build that was killed left behind goes with a later one', async (t) => {
  const { store, templates } = storeFor(t)
  const [old, recent] = [await store.makeWorkFolder(), await store.makeWorkFolder()]
  const time = new Date(Date.now() - 2 * 86_400_000)
  utimesSync(old, time, time)
  await store.packTemplate({ name: 'app', tree: treeFor(t), config: CONFIG, boot: BOOT })
  t.notOk(existsSync(old))
  t.ok(existsSync(recent), 'that may be a build under way')
  t.equal(statSync(recent).mode & 0o777, 0o700)
  t.ok(readdirSync(templates).length === 3)
})

t.test('a tree that does not fit fails with what mke2fs says, and leaves nothing', async (t) => {
  const { store, templates } = storeFor(t)
  const tree = treeFor(t)
  writeFileSync(join(tree, 'big'), Buffer.alloc(80 * MIB, 1))
  const spec = { name: 'app', tree, config: CONFIG, boot: BOOT, sizeBytes: 64 * MIB }
  await t.rejects(store.packTemplate(spec), { code: 'image_build_failed', message: /mke2fs/ })
  t.same(readdirSync(templates), [])
})
