/** Command lines become commands and values, and what is wrong with them is said precisely. */

import t from 'tap'
import { type HelpWanted, type Parsed, parseCommandLine } from '../../cli/arguments.ts'
import { COMMANDS } from '../../cli/commands.ts'
import { CliError } from '../../cli/errors.ts'
import { EXIT } from '../../cli/exit-codes.ts'

function parse(line: string): Parsed | HelpWanted {
  return parseCommandLine(COMMANDS, line === '' ? [] : line.split(' '))
}

function values(line: string) {
  const parsed = parse(line)
  if ('help' in parsed) throw new Error(`${line} asks for help`)
  const { command, args, options, isJson } = parsed
  return { command: command.words.join(' '), args, options, isJson }
}

function refusal(line: string): CliError {
  try {
    parse(line)
  } catch (error) {
    if (error instanceof CliError) return error
    throw error
  }
  throw new Error(`"${line}" was taken`)
}

t.test('finds command, arguments and options wherever the options stand', (t) => {
  const expected = {
    command: 'vm new',
    args: { vm: 'web' },
    options: { pool: 'p', port: 8_000 },
    isJson: true,
  }
  const lines = [
    'vm new web --pool p --port 8000 --json',
    '--json vm new --pool=p web --port=8000',
    'vm --json new --port 8000 --pool p web',
    'vm new --json --pool p --port 8000 -- web',
  ]
  for (const line of lines) t.same(values(line), expected, line)
  t.same(values('vm new'), { command: 'vm new', args: { vm: undefined }, options: {}, isJson: false })
  t.same(values('vm delete a b c').args, { vms: ['a', 'b', 'c'] })
  t.same(values('help vm new').args, { words: ['vm', 'new'] })
  t.same(values('--version').command, 'version')
  t.end()
})

t.test('turns values into what the API wants', (t) => {
  t.same(values('pool new p --cpus 1.5 --memory 8G --disk 100G').options, {
    cpus: 1_500,
    memory: 8_589_934_592,
    disk: 107_374_182_400,
  })
  t.same(values('token new --scope web:read,write,read --scope *:admin').options.scope, [
    { pool: 'web', verbs: ['read', 'write'] },
    { pool: '*', verbs: ['admin'] },
  ])
  const whom = (text: string) => values(`grant add web ${text}`).args.whom
  t.same(whom('ann@example.org'), { kind: 'email', value: 'ann@example.org' })
  t.same(whom('@example.org'), { kind: 'domain', value: 'example.org' })
  t.same(whom('example.org'), { kind: 'domain', value: 'example.org' })
  t.same(whom('user:ann'), { kind: 'user', value: 'ann' })
  t.same(values('grant add web a@b --port 80 --port 81').options.port, [80, 81])
  const expires = Date.parse(String(values('token new --scope a:read --expires 7d').options.expires))
  t.ok(Math.abs(expires - Date.now() - 604_800_000) < 60_000)
  t.same(
    values('login --api https://admin.example.test/ --token-stdin').options.api,
    'https://admin.example.test',
  )
  t.same(values('vm start web --timeout 90').options.timeout, 90_000)
  t.same(values('vm set web --comment=').options.comment, '', 'a comment may be taken away')
  t.end()
})

t.test('asks for help', (t) => {
  t.same(parse('--help'), { help: [] })
  t.same(parse('-h'), { help: [] })
  t.same(parse('vm --help'), { help: ['vm'] })
  t.same(parse('vm new web --pool p -h'), { help: ['vm', 'new'] })
  t.same(parse('dev --help'), { help: ['dev'] })
  t.same(parse('host -h'), { help: ['host'] })
  t.end()
})

t.test('says what is wrong, and what was meant', (t) => {
  const cases: [string, RegExp][] = [
    ['', /There is no command\.$/],
    ['--json', /There is no command before "--json"/],
    ['vms', /There is no command "vms"\. Did you mean "vm"\?/],
    ['frobnicate', /There is no command "frobnicate"\.$/],
    ['frobnicate --help', /There is no command "frobnicate"\.$/],
    [
      'vm',
      /"landfall vm" needs a verb: list, show, new, set, start, stop, delete, copy, restart, suspend, wake\./,
    ],
    ['vm lsit', /"landfall vm" has no verb "lsit"\. Did you mean "list"\?/],
    ['host lst', /"landfall host" has no verb "lst"\. Did you mean "list"\?/],
    ['vm list --pol p', /"landfall vm list" has no option --pol\. Did you mean "--pool"\?/],
    ['vm list -x', /has no option -x\.$/],
    ['vm list --__proto__ x', /has no option --__proto__/],
    ['vm list --pool', /--pool needs a value: --pool POOL/],
    ['vm list --pool --json', /--pool needs a value; one that begins with "-" is written --pool=--json/],
    ['vm list --json=yes', /--json takes no value \(got "yes"\)/],
    ['vm list --pool a --pool b', /--pool is there twice/],
    ['vm list extra', /There is an argument too many: "extra"/],
    ['vm show', /VM is missing/],
    ['vm delete', /VM is missing/],
    ['port set web', /PORT is missing/],
    ['port set web 0 --public', /PORT must be a whole number from 1 to 65535 \(got "0"\)/],
    ['port set web 65536 --public', /PORT must be a whole number/],
    ['pool new p --memory 1G --disk 1G', /--cpus CPUS is missing/],
    ['pool new p --cpus x --memory 1G --disk 1G', /--cpus must be a number of CPUs such as .* \(got "x"\)/],
    ['pool new p --cpus 1 --memory lots --disk 1G', /--memory must be a size such as/],
    ['token new', /--scope POOL:VERBS is missing/],
    [
      'token new --scope web:delete',
      /--scope must be a pool \(or "\*"\) and verbs.*read, write, share, admin/,
    ],
    ['token new --scope web', /--scope must be/],
    ['grant add web ann', /WHOM must be an e-mail address/],
    ['grant add web a@b --expires soon', /--expires must be a time such as 12h/],
    ['grant add web a@b --role king', /--role must be one of viewer, root/],
    ['vm show ..', /VM must be a name \(got "\.\."\)/],
    ['vm start web --timeout 2h', /--timeout must be a time such as 90s or 5m, at most an hour/],
    ['login --api http://admin.example.test --token-stdin', /--api must be an address such as https:/],
    ['login --api https://admin.example.test/v1 --token-stdin', /--api must be/],
    ['login --api https://user:pass@admin.example.test --token-stdin', /--api must be/],
    ['login --api https://admin.example.test', /--token-stdin is missing/],
    ['completion tcsh', /SHELL must be one of bash, zsh, fish/],
  ]
  for (const [line, expected] of cases) {
    const { message, exitCode, fault } = refusal(line)
    t.match(message, expected, line)
    t.equal(exitCode, EXIT.usage)
    t.match(fault.next, /^Run "landfall help/)
  }
  t.equal(refusal('vm show').fault.next, 'Run "landfall help vm show".')
  t.end()
})

t.test('takes an id that begins with a dash for what it is', (t) => {
  const id = '-zaPuyg5Qk3x'
  t.same(values(`grant delete web ${id}`).args, { vm: 'web', id })
  t.same(values(`grant delete ${id} --json web`), {
    ...{ command: 'grant delete', args: { vm: 'web', id }, options: {}, isJson: true },
  })
  t.same(values(`session end ${id}`).args, { id })
  t.match(refusal(`grant add web ann@example.org --label ${id}`), { message: /--label=/ })
  t.match(refusal('grant delete web -x'), { message: /no option -x/ })
  t.end()
})
