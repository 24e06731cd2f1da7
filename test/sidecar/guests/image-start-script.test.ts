/** No text of an image gets out of the quotes of the script that starts it. */

import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { findImageUser } from '../../../sidecar/guests/image-user.ts'
import { type StartSpec, toStartScript } from '../../../sidecar/guests/start-script.ts'
import { folderFor } from '../../helpers/folder.ts'

/** Runs the script with programs of this machine in the place of those of the tools disk; settles with what the command saw. */
function runnerFor(t: Test) {
  const folder = folderFor(t)
  const tell = join(folder, 'tell')
  writeFileSync(
    tell,
    `#!/bin/sh\nprintf "%s\\0" "$(pwd)" "$@"\ncat /proc/$$/environ >${folder}/environment\n`,
  )
  chmodSync(tell, 0o755)
  return (spec: Omit<StartSpec, 'command'> & { readonly args: readonly string[] }) => {
    const text = toStartScript({ ...spec, command: [tell, ...spec.args] })
    const script = join(folder, 'start')
    const here = text
      .replaceAll('/.landfall/bin/busybox', '/bin/busybox')
      .replaceAll('/.landfall/bin/setpriv', '/usr/bin/setpriv')
    writeFileSync(script, here)
    const output = execFileSync('/bin/busybox', ['sh', script], { cwd: folder, encoding: 'utf8' })
    const [place = '', ...args] = output.split('\0').slice(0, -1)
    const variables = readFileSync(join(folder, 'environment'), 'utf8')
    return { folder: place, args, environment: variables.split('\0').slice(0, -1) }
  }
}

const HOSTILE = [
  "'",
  "''",
  "'; touch broken; '",
  '$(touch broken)',
  '`touch broken`',
  '\n touch broken \n',
  '\\',
  "\\'",
  '"',
  '!',
  '~',
  '*',
  '-n',
  '--',
  '--reuid=0',
  '=x',
  'a=b',
  '$HOME',
  '\r',
  '\u0007',
  'ü€😀',
  "'\n'",
  '#',
  '&&touch broken',
  ';',
  '|',
  '',
]

const skip = process.geteuid?.() === 0 ? false : 'only root may take other ids'

t.test('hostile texts arrive as they are', { skip }, (t) => {
  const run = runnerFor(t)
  const environment = Object.fromEntries(HOSTILE.map((text, at) => [`V${at}`, text]))
  const seen = run({ args: HOSTILE, environment })
  t.same(seen.args, HOSTILE)
  t.same(
    seen.environment.sort(),
    Object.entries(environment)
      .map(([name, value]) => `${name}=${value}`)
      .sort(),
  )
  t.notOk(existsSync('broken'))
  t.end()
})

t.test('any texts arrive as they are', { skip }, (t) => {
  const run = runnerFor(t)
  const text = fc.string({ unit: fc.constantFrom("'", '"', '\\', '$', '`', '\n', ' ', 'a', ';', '=', '-') })
  fc.assert(
    fc.property(fc.array(text, { maxLength: 4 }), text, (args, value) => {
      const seen = run({ args, environment: { A: value } })
      t.same(seen.args, args)
      t.same(seen.environment, [`A=${value}`])
    }),
    { numRuns: 60 },
  )
  t.end()
})

t.test('a folder with any name is entered, and one that is missing ends it', { skip }, (t) => {
  const run = runnerFor(t)
  const folder = join(folderFor(t), "it's a $(folder)")
  mkdirSync(folder)
  t.equal(run({ args: [], workingFolder: folder }).folder, folder)
  t.throws(() => run({ args: [], workingFolder: `${folder}/none` }))
  t.end()
})

t.test('the command has the ids of its user, and no other groups than his', { skip }, (t) => {
  const text = toStartScript({ command: ['id'], ids: { uid: 1234, gid: 1235, groups: [77, 78] } })
  const here = text
    .replaceAll('/.landfall/bin/busybox', '/bin/busybox')
    .replaceAll('/.landfall/bin/setpriv', '/usr/bin/setpriv')
  t.match(
    execFileSync('/bin/sh', ['-c', here], { encoding: 'utf8' }),
    /^uid=1234.* gid=1235.* groups=1235,77.*,78/,
  )
  t.ok(toStartScript({ command: ['id'] }).includes("'--reuid' '0' '--regid' '0' '--clear-groups' '--' 'id'"))
  t.end()
})

t.test('users are looked up in the lists of the image alone', async (t) => {
  const tree = folderFor(t)
  t.same(
    await findImageUser(tree, '1000'),
    { uid: 1000, gid: 0, groups: [], home: '/' },
    'there are no lists',
  )
  mkdirSync(join(tree, 'etc'))
  writeFileSync(
    join(tree, 'etc/passwd'),
    'root:x:0:0::/root:/bin/sh\nann:x:7:8::/home/ann:\n9:x:10:11::/nine:\nbad:x:x:y::/:\n\nshort\n',
  )
  writeFileSync(join(tree, 'etc/group'), 'staff:x:50:bob,ann\nann:x:8:\nann2:x:51:ann\n')
  t.same(await findImageUser(tree, 'ann'), { uid: 7, gid: 8, groups: [50, 51], home: '/home/ann' })
  t.same(await findImageUser(tree, '7'), { uid: 7, gid: 8, groups: [50, 51], home: '/home/ann' })
  t.same(await findImageUser(tree, 'ann:staff'), { uid: 7, gid: 50, groups: [], home: '/home/ann' })
  t.same(await findImageUser(tree, '12:13'), { uid: 12, gid: 13, groups: [], home: '/' })
  t.same(
    await findImageUser(tree, '9'),
    { uid: 10, gid: 11, groups: [], home: '/nine' },
    'a name comes before an id',
  )
  for (const user of ['eve', 'ann:none', '-1', '4294967295', '1e3', 'bad', 'short', '0x1', ' 1']) {
    await t.rejects(findImageUser(tree, user), { code: 'image_build_failed', message: /does not know/ }, user)
  }
})

t.test('a list that is no plain file is not read', async (t) => {
  const tree = folderFor(t)
  mkdirSync(join(tree, 'etc'))
  symlinkSync('/etc/passwd', join(tree, 'etc/group'))
  execFileSync('mkfifo', [join(tree, 'etc/passwd')])
  t.same(await findImageUser(tree, '5'), { uid: 5, gid: 0, groups: [], home: '/' })
  await t.rejects(
    findImageUser(tree, 'daemon'),
    { code: 'image_build_failed' },
    'that is a user of this machine',
  )
})
