/** The frame of every HTML page that is ours: no script, no outside resource, so it works under any policy and offline. */

import { escapeHtml } from './html.ts'

const STYLE = `
  :root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --paper: #fbfaf7; --mark: #b4532a }
  @media (prefers-color-scheme: dark) { :root { --ink: #e8e6e1; --soft: #9aa4b1; --line: #333b46; --paper: #14181d; --mark: #e08a5b } }
  body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.55 system-ui, sans-serif }
  main { max-width: 36rem; margin: 14vh auto 4rem; padding: 0 1.5rem }
  h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .75rem; letter-spacing: -.01em; overflow-wrap: anywhere }
  .status { color: var(--mark); font-weight: 600; margin: 0 0 .5rem }
  dl { margin: 2.5rem 0 0; padding-top: 1.25rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .85rem;
    display: grid; grid-template-columns: auto 1fr; gap: .25rem 1rem }
  dt { font-weight: 600 } dd { margin: 0; overflow-wrap: anywhere; font-family: ui-monospace, monospace }
  section { border-top: 1px solid var(--line); padding: .75rem 0 } section h2 { font-size: 1rem; margin: 0; font-family: ui-monospace, monospace }
  section p { margin: .25rem 0 } a { color: inherit }
  form, .choices { margin: 1.5rem 0 0; display: flex; flex-wrap: wrap; gap: .75rem; align-items: center }
  button, .button { font: inherit; font-weight: 600; padding: .55rem 1.1rem; border-radius: .4rem; border: 1px solid var(--mark);
    background: var(--mark); color: var(--paper); cursor: pointer; text-decoration: none }
  button.second, .button.second { background: transparent; color: inherit; border-color: var(--line) }
  input { font: inherit; padding: .5rem .7rem; border-radius: .4rem; border: 1px solid var(--line); background: transparent; color: inherit; min-width: 16rem }
  label { display: grid; gap: .25rem } .soft { color: var(--soft) } strong { overflow-wrap: anywhere }
`

/** `title` is plain text; `body`, and what else stands in the head, are HTML. */
export function htmlPage(title: string, body: string, head = ''): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
${head}<title>${escapeHtml(title)}</title><style>${STYLE}</style></head><body><main>${body}</main></body></html>
`
}
