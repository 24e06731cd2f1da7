/** The page of the `hello` VM: the request as it arrived, and two live connections to try. */

import { escapeHtml } from '../../lib/html.ts'

/** What the edge wrote, not the client. */
const EDGE_FIELD =
  /^(x-landfall-.*|x-forwarded-.*|forwarded|via|x-request-id|traceparent|tracestate|cdn-loop)$/i

/** A request as the VM received it. */
export interface Seen {
  readonly method: string
  readonly target: string
  readonly httpVersion: string
  /** Name and value as sent, in order, repeats included. */
  readonly rawHeaders: readonly (readonly [string, string])[]
}

const STYLE = `
:root { color-scheme: light dark; --ink: #1b2530; --soft: #5b6b7b; --line: #dfe5ea; --ground: #f6f8f9; --card: #fff; --mark: #0a7d5a }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #93a3b3; --line: #2b3640; --ground: #10161c; --card: #182028; --mark: #4ccb9f } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 54rem; margin: 0 auto; padding: 2.5rem 1rem 4rem }
h1 { margin: 0; font-size: 1.9rem } h2 { margin: 0 0 .8rem; font-size: 1.05rem }
p { color: var(--soft); margin: .3rem 0 1.6rem }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.2rem; margin-bottom: 1.2rem }
code, td, th, output, .line { font: 14px/1.5 ui-monospace, monospace; overflow-wrap: anywhere }
.line { margin: 0; color: var(--ink); font-weight: 600 }
table { width: 100%; border-collapse: collapse; margin-top: .8rem }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0; border-top: 1px solid var(--line) }
th { font-weight: 400; color: var(--soft); width: 32% } .edge th { color: var(--mark) }
form { display: flex; gap: .5rem } output { display: block; margin-top: .7rem; min-height: 1.5em; color: var(--soft) }
input, button { font: inherit; padding: .4rem .7rem; border: 1px solid var(--line); border-radius: 6px; background: var(--ground); color: inherit }
input { flex: 1; min-width: 0 } button { cursor: pointer }
`

const SCRIPT = `
const byId = (id) => document.getElementById(id)
const scheme = location.protocol === 'https:' ? 'wss' : 'ws'
const socket = new WebSocket(scheme + '://' + location.host + '/live')
let sentAt = 0
socket.onopen = () => { byId('said').textContent = 'connected' }
socket.onclose = (event) => { byId('said').textContent = 'closed (' + event.code + ')' }
socket.onmessage = (event) => { byId('said').textContent = event.data + '  (' + (performance.now() - sentAt).toFixed(1) + ' ms)' }
byId('say').onsubmit = (event) => { event.preventDefault(); sentAt = performance.now(); socket.send(byId('text').value) }
const events = new EventSource('//' + location.host + '/events')
events.addEventListener('tick', (event) => { byId('ticks').textContent = event.data })
events.onerror = () => { byId('ticks').textContent = 'reconnecting …' }
`

/** `nonce` is that of the Content-Security-Policy the page is sent with. */
export function toPage(seen: Seen, nonce: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>hello</title>
<link rel="icon" href="data:,">
<style nonce="${escapeHtml(nonce)}">${STYLE}</style>
</head>
<body>
<main>
<h1>Hello from a VM</h1>
<p>This is what reached it. Programs get the same as JSON.</p>
<section>
<h2>Your request</h2>
<p class="line">${escapeHtml(`${seen.method} ${seen.target} HTTP/${seen.httpVersion}`)}</p>
<table>
${seen.rawHeaders.map(toRow).join('\n')}
</table>
</section>
<section>
<h2>WebSocket</h2>
<form id="say"><input id="text" value="hello" aria-label="Text to send"><button>Send</button></form>
<output id="said">connecting …</output>
</section>
<section>
<h2>Server-sent events</h2>
<output id="ticks">connecting …</output>
</section>
</main>
<script nonce="${escapeHtml(nonce)}">${SCRIPT}</script>
</body>
</html>
`
}

/** What the edge added stands out. */
function toRow([name, value]: readonly [string, string]): string {
  const mark = EDGE_FIELD.test(name) ? ' class="edge"' : ''
  return `<tr${mark}><th scope="row">${escapeHtml(name)}</th><td>${escapeHtml(value)}</td></tr>`
}
