import { edge, vm, sleep, done } from './h.ts'
const e = await edge({})
const port = await vm((s, text, k) => {
  for (const m of text.matchAll(/^(\w+) (\/\S*)/gm)) { console.log('vm', m[0], 'on', k); setTimeout(() => s.end('HTTP/1.1 200 OK\r\n\r\n'+'x'.repeat(9000000)), 100) }
})
await e.route('app.localhost', port)
const a = await e.dialPlain(); a.pause()
let text = ''
a.write(['a', 'b', 'c'].map((p) => `POST /${p} HTTP/1.0\r\nHost: app.localhost\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n`).join(''))
await sleep(700); a.on('data', (c) => { text += c }); a.on('end', () => {console.log('end'); a.end()}); a.resume()
await sleep(1500)
console.log('client saw', [...text.matchAll(/HTTP\/1.1 \d+/g)].length, 'answers', text.length)
await done()
