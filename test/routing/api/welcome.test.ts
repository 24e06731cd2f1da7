/** The open pages: what they say, to whom, and what they cannot do. */

import { createHash } from 'node:crypto'
import t from 'tap'
import { apiFor, TOKEN } from './api-client.ts'

t.test('tells everybody in a browser what this is, and where the token is', async (t) => {
  const { call } = await apiFor(t)
  const page = await call('GET', '/', { token: '' })
  t.equal(page.status, 200)
  t.match(page.headers, { 'content-type': 'text/html; charset=utf-8', 'x-content-type-options': 'nosniff' })
  t.match(page.text, /admin\.token/)
  t.match(page.text, /https:\/\/admin\.example\.test\/v1\/tokens/)
  for (const address of ['/v1/openapi.json', '/llms.txt']) {
    t.ok(page.text.includes(`href="${address}"`), address)
    t.equal((await call('GET', address, { token: '' })).status, 200, address)
  }
  t.notMatch(page.text, TOKEN)
  t.match(await call('HEAD', '/', { token: '' }), { status: 200, text: '' })
  t.match(await call('GET', '/', { token: 'wrong' }), { status: 200 })
})

t.test('names every address of the API', async (t) => {
  const { call } = await apiFor(t)
  const { text } = await call('GET', '/')
  const { paths } = (await call('GET', '/v1/openapi.json')).json as { paths: Record<string, object> }
  for (const [path, operations] of Object.entries(paths)) {
    for (const method of Object.keys(operations)) {
      t.ok(text.includes(`<code>${method.toUpperCase()} ${path}</code>`), `${method} ${path}`)
    }
  }
})

t.test('runs nothing in the browser, and loads nothing', async (t) => {
  const { call } = await apiFor(t)
  const { text, headers } = await call('GET', '/')
  t.notMatch(text, /<script|<img|<link|<iframe|<form| on[a-z]+=|style="/i)
  const style = /<style>(.*?)<\/style>/s.exec(text)?.[1] ?? ''
  const hash = createHash('sha256').update(style).digest('base64')
  t.match(headers['content-security-policy'], /default-src 'none'/)
  t.ok(String(headers['content-security-policy']).includes(`style-src 'sha256-${hash}'`))
  t.match(headers['content-security-policy'], /frame-ancestors 'none'/)
})

t.test('escapes what the operator set, and repeats nothing that the visitor sent', async (t) => {
  const domain = '"><script>alert(1)</script>.test'
  const { call } = await apiFor(t, { domain, urlOf: () => 'https://admin.test/"><script>' })
  t.notMatch((await call('GET', '/')).text, /<script/)
  const plain = await apiFor(t)
  const odd = { headers: { host: 'evil.test', 'x-forwarded-host': 'evil.test', referer: 'evil.test' } }
  const answer = await plain.call('GET', '/?evil.test', odd)
  t.equal(answer.status, 200)
  t.notMatch(answer.text, /evil/)
})

t.test('says in a fleet that the first token is spent by the second', async (t) => {
  const page = async (isFleet: boolean) => {
    const { call } = await apiFor(t, { isFleet })
    return (await call('GET', '/', { token: '' })).text
  }
  t.match(await page(true), /In a fleet/)
  t.notMatch(await page(false), /In a fleet/)
})

t.test('has the short form for agents, with the ports that the addresses need', async (t) => {
  const { call } = await apiFor(t, { urlOf: (hostname) => `https://${hostname}:8443` })
  const page = await call('GET', '/llms.txt', { token: '' })
  t.match(page, { status: 200, headers: { 'content-type': 'text/plain; charset=utf-8' } })
  t.match(page.text, /API: https:\/\/admin\.example\.test:8443\b/)
  t.match(page.text, /https:\/\/NAME\.example\.test:8443\//)
})
