/** Completion scripts, tried in the shells themselves; bash has to be there, zsh and fish may be. */

import { spawnSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { COMMANDS } from '../../cli/commands.ts'
import { completionOf } from '../../cli/completion.ts'
import { placesOf, valueOptionsOf } from '../../cli/completion-model.ts'
import { folderFor } from '../helpers/folder.ts'
import { scriptedCliFor } from './cli-process.ts'
import { problem } from './scripted-api.ts'

interface Case {
  /** What is typed; the last word is the one that is completed. */
  readonly line: string
  /** All that is offered, in any order. */
  readonly offered: readonly string[]
}

const NAMES: Readonly<Record<string, string>> = { pools: 'main web', vms: 'db web web-2' }

const CASES: readonly Case[] = [
  {
    line: 'landfall vm ',
    offered: 'list show new set start stop delete copy restart suspend wake'.split(' '),
  },
  { line: 'landfall vm st', offered: ['start', 'stop'] },
  { line: 'landfall to', offered: ['token'] },
  { line: 'landfall vm show ', offered: ['db', 'web', 'web-2'] },
  { line: 'landfall vm show we', offered: ['web', 'web-2'] },
  { line: 'landfall vm show web ', offered: [] },
  { line: 'landfall vm delete db we', offered: ['web', 'web-2'] },
  { line: 'landfall vm new ', offered: [] },
  { line: 'landfall vm new --pool ', offered: ['main', 'web'] },
  { line: 'landfall vm new fresh --pool w', offered: ['web'] },
  { line: 'landfall vm new --comment ', offered: [] },
  { line: 'landfall vm list --', offered: ['--pool', '--json', '--help'] },
  { line: 'landfall vm list --pool main --j', offered: ['--json'] },
  { line: 'landfall --json vm sh', offered: ['show'] },
  { line: 'landfall grant add web ann@example.org --role ', offered: ['viewer', 'root'] },
  { line: 'landfall domain add www.example.org ', offered: ['db', 'web', 'web-2'] },
  { line: 'landfall domain add --port 80 www.example.org ', offered: ['db', 'web', 'web-2'] },
  { line: 'landfall vm --json show --json ', offered: ['db', 'web', 'web-2'] },
  { line: 'landfall link make ', offered: ['db', 'web', 'web-2'] },
  { line: 'landfall link make web --no', offered: ['--no-login'] },
  { line: 'landfall vm-token ', offered: ['make', 'list', 'show', 'delete'] },
  { line: 'landfall vm-token make --ctx x ', offered: ['db', 'web', 'web-2'] },
  { line: 'landfall port set web 80 --authorization ', offered: ['app', 'edge'] },
  { line: 'landfall token s', offered: ['show', 'sign'] },
  { line: 'landfall host ', offered: ['list', 'show', 'delete'] },
  { line: 'landfall usage ', offered: ['main', 'web'] },
  { line: 'landfall completion ', offered: ['bash', 'zsh', 'fish'] },
  { line: 'landfall nonsense ', offered: [] },
]

/** A folder with a `landfall` that answers `__complete` alone, and the script of a shell. */
function shellFor(t: Test, shell: string) {
  const folder = folderFor(t)
  const names = Object.entries(NAMES).map(([list, all]) => `  ${list}) printf '%s\\n' ${all} ;;`)
  const program = `#!/bin/sh\n[ "$1" = __complete ] || exit 1\necho noise >&2\ncase $2 in\n${names.join('\n')}\nesac\n`
  writeFileSync(join(folder, 'landfall'), program)
  chmodSync(join(folder, 'landfall'), 0o755)
  writeFileSync(join(folder, 'script'), completionOf(shell, COMMANDS))
  return folder
}

function run(
  shell: string,
  program: string,
  { folder, args }: { folder: string; args: readonly string[] },
): string {
  const env = { PATH: `${folder}:${process.env.PATH}`, HOME: folder, TERM: 'dumb' }
  const { stdout, stderr, error } = spawnSync(shell, ['-c', program, ...args], {
    cwd: folder,
    env,
    encoding: 'utf8',
  })
  if (error) throw error
  if (stderr !== '') throw new Error(stderr)
  return stdout
}

function has(shell: string): boolean {
  return spawnSync(shell, ['--version']).error === undefined
}

const sorted = (words: readonly string[]) => words.filter((word) => word !== '').sort()

t.test('bash offers what may stand there', (t) => {
  const folder = shellFor(t, 'bash')
  const program = `source ./script
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _landfall; printf '%s\\n' "\${COMPREPLY[@]}"`
  for (const { line, offered } of CASES) {
    const answer = run('bash', program, { folder, args: ['bash', ...line.split(' ')] })
    t.same(sorted(answer.split('\n')), sorted(offered), line)
  }
  const all = run('bash', program, { folder, args: ['bash', 'landfall', ''] })
  t.same(new Set(sorted(all.split('\n'))), new Set(COMMANDS.map(({ words: [noun = ''] }) => noun)))
  writeFileSync(join(folder, 'key.pub'), '')
  t.same(
    run('bash', program, { folder, args: ['bash', 'landfall', 'key', 'add', 'ann', 'key'] }),
    'key.pub\n',
  )
  t.match(run('bash', 'source ./script; complete -p landfall', { folder, args: [] }), /-F _landfall landfall/)
  t.end()
})

t.test('zsh offers the same', { skip: !has('zsh') && 'zsh is not installed' }, (t) => {
  const folder = shellFor(t, 'zsh')
  const program = `compdef() { : }
compadd() { shift; print -l -- "$@" }
_files() { print files }
source ./script
words=("$@"); CURRENT=$#; _landfall`
  for (const { line, offered } of CASES) {
    const answer = run('zsh', program, { folder, args: ['zsh', ...line.split(' ')] })
    const typed = line.split(' ').at(-1) ?? ''
    const fitting = answer.split('\n').filter((word) => word.startsWith(typed))
    t.same(sorted(fitting), sorted(offered), line)
  }
  t.equal(run('zsh', program, { folder, args: ['zsh', 'landfall', 'key', 'add', 'ann', ''] }), 'files\n')
  t.end()
})

t.test('fish offers the same', { skip: !has('fish') && 'fish is not installed' }, (t) => {
  const folder = shellFor(t, 'fish')
  for (const { line, offered } of CASES) {
    const answer = run('fish', 'source ./script; complete -C $argv[1]', { folder, args: [line] })
    const words = answer.split('\n').map((text) => text.split('\t')[0] ?? '')
    t.same(sorted(words), sorted(offered), line)
  }
  t.end()
})

t.test('the names come from the API, and none can be made to run something', async (t) => {
  const names = ['web', 'db', '$(touch x)', '`id`', 'a b', 'ok-1.2_3']
  const { cli, calls } = await scriptedCliFor(t, ({ path }) => ({
    body: { [path.split('/').at(-1) ?? '']: names.map((name) => ({ name, hostname: name, id: name })) },
  }))
  for (const list of ['pools', 'vms', 'routes', 'domains', 'tokens', 'keys', 'hosts', 'edges', 'sessions']) {
    const { code, stdout } = await cli(['__complete', list])
    t.equal(code, 0)
    t.equal(stdout, 'web\ndb\nok-1.2_3\n', list)
  }
  t.equal(calls.length, 9)
  t.match(await cli(['__complete', 'constructor']), { code: 0, stdout: '' })
  t.match(await cli(['__complete']), { code: 0, stdout: '' })
})

t.test('says nothing when the API does not answer', async (t) => {
  const { cli } = await scriptedCliFor(t, () => problem(500, 'x'))
  t.match(await cli(['__complete', 'vms']), { code: 0, stdout: '', stderr: '' })
  t.match(await cli(['__complete', 'vms'], { env: { LANDFALL_API: '', LANDFALL_TOKEN: '' } }), {
    code: 0,
    stdout: '',
    stderr: '',
  })
})

t.test('an option takes a value in every command or in none', (t) => {
  const values = valueOptionsOf(COMMANDS)
  for (const command of COMMANDS) {
    const own = placesOf(command).map(({ after }) => after)
    const flags = Object.keys(command.options).map((name) => `--${name}`)
    t.same(
      flags.filter((name) => values.includes(name) && !own.includes(name)),
      [],
      command.words.join(' '),
    )
  }
  t.end()
})
