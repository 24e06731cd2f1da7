/** A VM with a Git repository: `git http-backend` behind a small server that speaks CGI (RFC 3875) with it. */

import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import type { Test } from 'tap'
import { folderFor } from './folder.ts'
import { type Origin, originFor } from './origin.ts'

export interface GitServer extends Origin {
  /** The bare repository `repo.git`, with one commit on `main`. */
  readonly repository: string
}

/** What is missing here, or false. */
export function missingGit(): string | false {
  const { status, stdout } = spawnSync('git', ['--exec-path'], { encoding: 'utf8' })
  if (status !== 0) return 'git is not installed'
  return spawnSync(join(stdout.trim(), 'git-http-backend')).error === undefined
    ? false
    : 'no git http-backend'
}

/** Of nobody, so that no configuration of this machine has a say. */
export function gitEnvironment(home: string): Record<string, string> {
  const author = { GIT_AUTHOR_NAME: 'Ann', GIT_AUTHOR_EMAIL: 'ann@example.test' }
  return {
    ...author,
    ...{ GIT_COMMITTER_NAME: 'Ann', GIT_COMMITTER_EMAIL: 'ann@example.test' },
    ...{ GIT_CONFIG_NOSYSTEM: '1', GIT_TERMINAL_PROMPT: '0', LC_ALL: 'C' },
    HOME: home,
    PATH: process.env.PATH ?? '',
  }
}

export async function gitServerFor(t: Test): Promise<GitServer> {
  const root = folderFor(t)
  const repository = join(root, 'repo.git')
  const env = gitEnvironment(root)
  const git = (...words: string[]) => execFileSync('git', words, { cwd: root, env, stdio: 'pipe' })
  git('init', '-q', '--bare', '-b', 'main', repository)
  git('-C', repository, 'config', 'http.receivepack', 'true')
  const first = join(root, 'first')
  mkdirSync(first)
  git('init', '-q', '-b', 'main', first)
  git('-C', first, 'commit', '-q', '--allow-empty', '-m', 'the first')
  git('-C', first, 'push', '-q', repository, 'main')
  const origin = await originFor(t, (request, response) => runBackend(request, response, { root, env }))
  return { ...origin, repository }
}

interface Place {
  readonly root: string
  readonly env: Readonly<Record<string, string>>
}

function runBackend(request: IncomingMessage, response: ServerResponse, { root, env }: Place): void {
  const { pathname, search } = new URL(request.url ?? '/', 'http://vm')
  const { headers, method = 'GET' } = request
  const backend = spawn('git', ['http-backend'], {
    env: {
      ...env,
      ...{ GIT_PROJECT_ROOT: root, GIT_HTTP_EXPORT_ALL: '1', PATH_INFO: pathname, REQUEST_METHOD: method },
      ...{ QUERY_STRING: search.slice(1), CONTENT_TYPE: headers['content-type'] ?? '' },
      ...(headers['content-length'] && { CONTENT_LENGTH: headers['content-length'] }),
      HTTP_CONTENT_ENCODING: headers['content-encoding'] ?? '',
      GIT_PROTOCOL: String(headers['git-protocol'] ?? ''),
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  backend.stdin.on('error', () => {})
  request.pipe(backend.stdin)
  response.once('close', () => backend.kill())
  relayAnswer(backend.stdout, response)
}

/** RFC 3875 section 6.3: fields, an empty line, the body. */
function relayAnswer(output: NodeJS.ReadableStream, response: ServerResponse): void {
  let head = Buffer.alloc(0)
  output.on('data', (chunk: Buffer) => {
    if (response.headersSent) {
      response.write(chunk)
      return
    }
    head = Buffer.concat([head, chunk])
    const end = head.indexOf('\r\n\r\n')
    if (end < 0) return
    writeHead(response, head.toString('latin1', 0, end))
    response.write(head.subarray(end + 4))
  })
  output.on('end', () => response.end())
}

function writeHead(response: ServerResponse, head: string): void {
  const fields = head.split('\r\n').map((line) => line.split(/: */, 2) as [string, string])
  const status = fields.find(([name]) => name.toLowerCase() === 'status')?.[1] ?? '200'
  for (const [name, value] of fields) if (name.toLowerCase() !== 'status') response.setHeader(name, value)
  response.writeHead(Number.parseInt(status, 10))
}
