/** The error pages: nothing that a client or a VM wrote becomes markup, and every code is explained. */

import t from 'tap'
import { escapeHtml } from '../../lib/html.ts'
import { errorPage, errorsPage } from '../../proxy/error-page.ts'
import { FAULTS } from '../../proxy/errors.ts'

const ATTACK = `"><script>alert('x')</script><img src=x onerror=alert(1)>&amp;`

t.test('escapes what has a meaning in HTML', async (t) => {
  t.equal(escapeHtml(`a<b>&"c"&lt;`), 'a&lt;b&gt;&amp;&quot;c&quot;&amp;lt;')
  t.equal(escapeHtml(''), '')
})

t.test('shows code, text, next step, host and request id', async (t) => {
  const fault = FAULTS.upstream_timeout
  const page = errorPage({
    ...{ code: 'upstream_timeout', fault, detail: 'it slept' },
    ...{ requestId: '0123456789abcdef', host: 'app.test' },
  })
  for (const text of [
    '<!doctype html>',
    '504',
    fault.title,
    'upstream_timeout',
    'it slept',
    'app.test',
    '0123456789abcdef',
  ])
    t.ok(page.includes(text), text)
  t.ok(page.includes('href="/.landfall/errors#upstream_timeout"'), 'leads to the explanation')
})

t.test('lets nothing through that came from outside', async (t) => {
  const facts = {
    code: 'route_unknown',
    fault: FAULTS.route_unknown,
    detail: ATTACK,
    requestId: ATTACK,
    host: ATTACK,
  }
  const page = errorPage(facts)
  t.notMatch(page, /<script|<img/i)
  t.equal(page.split(escapeHtml(ATTACK)).length - 1, 3, 'all three are there, as text')
  const tags = (html: string) => html.match(/<[a-z!/][^>]*>/gi)
  const harmless = errorPage({ ...facts, detail: 'x', requestId: 'x', host: 'x' })
  t.same(tags(page), tags(harmless), 'the markup is the same as without the attack')
})

t.test('works under any policy: no script, nothing from elsewhere', async (t) => {
  for (const page of [
    errorsPage(FAULTS),
    errorPage({ code: 'draining', fault: FAULTS.draining, detail: undefined, requestId: '', host: '' }),
  ])
    t.notMatch(page, /<script|<link|<img|@import|url\(|https?:|javascript:/i)
})

t.test('explains every code of the relay on one page, under its own anchor', async (t) => {
  const page = errorsPage(FAULTS)
  for (const [code, { status, title, next }] of Object.entries(FAULTS)) {
    const section = new RegExp(`<section id="${code}">(.*?)</section>`, 's').exec(page)?.[1] ?? ''
    for (const text of [code, String(status), escapeHtml(title), escapeHtml(next)])
      t.ok(section.includes(text), `${code}: ${text}`)
  }
})
