import { edge, vm, sleep, done } from './h.ts'
const e = await edge({ LANDFALL_DRAIN_TIMEOUT_MS: '5000' })
const port = await vm((s, text, k) => {
  for (const m of text.matchAll(/^(\w+) (\/\S*)/gm)) { console.log('vm', m[0], 'on', k); setTimeout(() => s.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'), 500) }
})
await e.route('app.localhost', port)
const a = await e.dialPlain()
let text = ''; a.on('data', (c) => { text += c }); a.on('close', () => console.log('closed')); a.on('end', () => {console.log('end'); a.end()})
a.write(['a', 'b', 'c'].map((p) => `POST /${p} HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 0\r\n\r\n`).join(''))
await sleep(100)
const d = e[Symbol.asyncDispose]()
await d
console.log('client saw', [...text.matchAll(/HTTP\/1.1 \d+/g)].length, 'answers', /connection: close/i.test(text))
// HTTP/1.0 keep-alive pipelining with an answer without length
process.exit(0)
