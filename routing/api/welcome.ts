/** The open pages: `/` for whoever opens it in a browser (no scripts, nothing that a visitor sent), `/llms.txt` for agents. */

import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { agentPage } from '../../lib/agent-page.ts'
import { escapeHtml } from '../../lib/html.ts'
import type { ApiContext } from './context.ts'
import { documentOf } from './openapi.ts'
import type { ApiDocument } from './openapi-document.ts'
import { refuseOtherMethods } from './problems.ts'
import { withProblems } from './schemas.ts'

const HOME = '/'
const AGENTS = '/llms.txt'
const STYLE =
  'body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}' +
  'code,pre{font:14px/1.5 ui-monospace,monospace}pre{overflow-x:auto}' +
  'td{padding:.1rem 1rem .1rem 0;vertical-align:top}'
const POLICY = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`

export function addWelcome(app: FastifyInstance, context: ApiContext): void {
  addHome(app, context)
  addAgentPage(app, context)
}

function addHome(app: FastifyInstance, context: ApiContext): void {
  const page = createPage(app, context)
  const schema = withProblems({
    summary: 'This API, for people',
    response: { 200: toContent('text/html', 'A page that names every address') },
  })
  app.get(HOME, { config: { isOpen: true }, schema }, (_request, reply) =>
    reply
      .type('text/html; charset=utf-8')
      .headers({ 'content-security-policy': POLICY, 'x-content-type-options': 'nosniff' })
      .send(page()),
  )
  refuseOtherMethods(app, HOME, ['GET', 'HEAD'])
}

function addAgentPage(app: FastifyInstance, { domain, urlOf }: ApiContext): void {
  const schema = withProblems({
    summary: 'This API and its command line, for agents',
    response: { 200: toContent('text/plain', 'Markdown of at most 900 tokens') },
  })
  app.get(AGENTS, { config: { isOpen: true }, schema }, (_request, reply) =>
    reply
      .type('text/plain; charset=utf-8')
      .header('x-content-type-options', 'nosniff')
      .send(agentPage({ apiUrl: urlOf(`admin.${domain}`), domain: new URL(urlOf(domain)).host })),
  )
  refuseOtherMethods(app, AGENTS, ['GET', 'HEAD'])
}

/** The addresses are those of the OpenAPI document, which knows them once the API runs. */
function createPage(app: FastifyInstance, context: ApiContext): () => string {
  let page: string | undefined
  return () => {
    page ??= toPage(context, documentOf(app))
    return page
  }
}

function toPage({ domain, urlOf, isFleet }: ApiContext, document: ApiDocument): string {
  const url = escapeHtml(urlOf(`admin.${domain}`))
  const title = `Landfall admin API of ${escapeHtml(domain)}`
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title>
<style>${STYLE}</style></head>
<body>
<h1>${title}</h1>
<p>Pools of CPU, memory and disk; the VMs in them; and the host names that lead to the VMs.</p>
<ul>
<li><a href="/v1/openapi.json">/v1/openapi.json</a>: everything, as OpenAPI 3.1</li>
<li><a href="/llms.txt">/llms.txt</a>: the same in short, for programs that read</li>
<li><a href="/.landfall/errors">/.landfall/errors</a>: what errors mean, and what to do</li>
</ul>
<h2>A token</h2>
<p>Every call but those to the open pages carries one: <code>Authorization: Bearer &lt;token&gt;</code>.
The first is in the file <code>admin.token</code> in the data folder of the edge (<code>LANDFALL_DATA</code>).
${isFleet ? 'In a fleet it makes the first real token, and is spent then.' : 'It may do everything; make others that may do less.'}</p>
<pre>curl ${url}/v1/tokens -H "Authorization: Bearer $(cat admin.token)" \\
  -H "Content-Type: application/json" \\
  -d '${escapeHtml(JSON.stringify({ label: 'me', scopes: [{ pool: '*', verbs: ['read', 'write', 'share', 'admin'] }] }))}'</pre>
<h2>Addresses</h2>
<table>
${rowsOf(document)}
</table>
</body>
</html>
`
}

function rowsOf({ paths = {} }: ApiDocument): string {
  const calls = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, { summary = '' }]) => ({ path, method, summary })),
  )
  const cell = (text: string) => `<td>${escapeHtml(text)}</td>`
  return calls
    .map(
      ({ path, method, summary }) =>
        `<tr><td><code>${escapeHtml(method.toUpperCase())} ${escapeHtml(path)}</code></td>${cell(summary)}</tr>`,
    )
    .join('\n')
}

function toContent(type: string, description: string) {
  return { description, content: { [type]: { schema: Type.String() } } }
}
