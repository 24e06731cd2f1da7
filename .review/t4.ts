import { edge, vm, sleep, done } from './h.ts'
const e = await edge({})
const a = await e.dialPlain()
let n = 0; a.on('data', (c) => { n += [...c.toString().matchAll(/HTTP\/1.1 404/g)].length })
for (let i = 0; i < 15; i++) { const b = n; a.write('POST / HTTP/1.1\r\nHost: nobody.localhost\r\nContent-Length: 1\r\n\r\n'); const until = Date.now() + 500; while (n === b && Date.now() < until) await sleep(5); a.write('x'); await sleep(5) }
console.log('answers', n)
await done()
