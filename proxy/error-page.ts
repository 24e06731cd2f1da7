/** The HTML that a browser's user sees of an error, and the page that explains all of them. */

import type { Fault } from '../lib/errors.ts'
import { escapeHtml } from '../lib/html.ts'

export interface ErrorPageFacts {
  readonly code: string
  readonly fault: Fault
  readonly detail: string | undefined
  readonly requestId: string
  readonly host: string
}

const STYLE = `
  :root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --paper: #fbfaf7; --mark: #b4532a }
  @media (prefers-color-scheme: dark) { :root { --ink: #e8e6e1; --soft: #9aa4b1; --line: #333b46; --paper: #14181d; --mark: #e08a5b } }
  body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.55 system-ui, sans-serif }
  main { max-width: 36rem; margin: 14vh auto 4rem; padding: 0 1.5rem }
  h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .75rem; letter-spacing: -.01em }
  .status { color: var(--mark); font-weight: 600; margin: 0 0 .5rem }
  dl { margin: 2.5rem 0 0; padding-top: 1.25rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .85rem;
    display: grid; grid-template-columns: auto 1fr; gap: .25rem 1rem }
  dt { font-weight: 600 } dd { margin: 0; overflow-wrap: anywhere; font-family: ui-monospace, monospace }
  section { border-top: 1px solid var(--line); padding: .75rem 0 } section h2 { font-size: 1rem; margin: 0; font-family: ui-monospace, monospace }
  section p { margin: .25rem 0 } a { color: inherit }
`

/** No script, no outside resource: it works under any policy and offline. */
export function errorPage({ code, fault, detail, requestId, host }: ErrorPageFacts): string {
  const more = detail === undefined ? '' : `<p>${escapeHtml(detail)}.</p>`
  return page(
    `${fault.status} ${fault.title}`,
    `<p class="status">${fault.status}</p><h1>${escapeHtml(fault.title)}</h1>${more}<p>${escapeHtml(fault.next)}</p>
<dl><dt>Code</dt><dd><a href="/.landfall/errors#${code}">${code}</a></dd><dt>Host</dt><dd>${escapeHtml(host)}</dd>
<dt>Request</dt><dd>${escapeHtml(requestId)}</dd></dl>`,
  )
}

/** One section for each code; `faults` are those of every part that answers clients. */
export function errorsPage(faults: Readonly<Record<string, Fault>>): string {
  const sections = Object.entries(faults).map(
    ([code, { status, title, next }]) =>
      `<section id="${code}"><h2>${code} · ${status}</h2><p>${escapeHtml(title)}.</p><p>${escapeHtml(next)}</p></section>`,
  )
  return page('Errors', `<h1>What this edge can answer by itself</h1>${sections.join('\n')}`)
}

function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title><style>${STYLE}</style></head><body><main>${body}</main></body></html>
`
}
