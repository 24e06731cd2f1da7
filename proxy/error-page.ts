/** The HTML that a browser's user sees of an error, and the page that explains all of them. */

import type { Fault } from '../lib/errors.ts'
import { escapeHtml } from '../lib/html.ts'
import { htmlPage } from '../lib/html-page.ts'

export interface ErrorPageFacts {
  readonly code: string
  readonly fault: Fault
  readonly detail: string | undefined
  readonly requestId: string
  readonly host: string
  readonly link?: ErrorPageLink
}

export interface ErrorPageLink {
  readonly text: string
  /** On the same host. */
  readonly path: string
}

export function errorPage({ code, fault, detail, requestId, host, link }: ErrorPageFacts): string {
  const more = detail === undefined ? '' : `<p>${escapeHtml(detail)}.</p>`
  const way =
    link === undefined ? '' : `<p><a href="${escapeHtml(link.path)}">${escapeHtml(link.text)}</a></p>`
  return htmlPage(
    `${fault.status} ${fault.title}`,
    `<p class="status">${fault.status}</p><h1>${escapeHtml(fault.title)}</h1>${more}<p>${escapeHtml(fault.next)}</p>${way}
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
  return htmlPage('Errors', `<h1>What this edge can answer by itself</h1>${sections.join('\n')}`)
}
