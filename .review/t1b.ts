import { edge, vm, sleep, done } from './h.ts'
const e = await edge({ LANDFALL_FIRST_BYTE_TIMEOUT_MS: '3000' })
let size = 0
const port = await vm((s, text, k) => {
  const path = text.split(' ')[1]; console.log('vm', path, 'on', k)
  const H = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=60\r\n\r\n'
  if (path === '/one') s.write(H + size.toString(16) + '\r\n' + 'x'.repeat(size) + '\r\n0\r\n\r\n')
  else s.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
})
await e.route('app.localhost', port)
for (const tls of [false, true]) for (size of [65350, 65430, 65440]) {
  const dial = () => tls ? e.dial('app.localhost') : e.dialPlain()
  const a = await dial()
  let got = 0; a.on('data', (c: any) => { got += c.length })
  a.write(`GET /one HTTP/1.1\r\nHost: app.localhost\r\n\r\n`)
  await sleep(500)
  const b = await dial()
  const at = performance.now()
  b.write('GET /small HTTP/1.1\r\nHost: app.localhost\r\n\r\n')
  const ans: string = await new Promise((r) => b.once('data', (c: any) => r(c.toString('latin1').split('\r\n')[0])))
  console.log(tls, size, 'got', got, 'then', ans, Math.round(performance.now() - at), 'ms')
  a.destroy(); b.destroy(); await sleep(50)
}
await done()
