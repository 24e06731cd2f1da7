import { edge, vm, sleep, done } from './h.ts'
const e = await edge({ LANDFALL_FIRST_BYTE_TIMEOUT_MS: '3000' })
const chunk = (n: number) => n.toString(16) + '\r\n' + 'x'.repeat(n) + '\r\n'
const conns: number[] = []
const port = await vm((s, text, k) => {
  const path = text.split(' ')[1]; conns.push(k); console.log('vm', path, 'on', k)
  if (path === '/big') { 
    s.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=60\r\n\r\n')
    const total = Number(text.match(/x-total: (\d+)/)?.[1])
    let left = total
    const go = () => { while (left > 0) { left -= 30000; if (!s.write(chunk(30000))) { s.once('drain', go); return } } s.write('0\r\n\r\n') }
    go()
  } else s.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
})
await e.route('app.localhost', port)
for (const total of [60000, 30000*100, 30000*200, 30000*300]) {
  const a = await e.dialPlain()
  a.write(`GET /big HTTP/1.1\r\nHost: app.localhost\r\nx-total: ${total}\r\n\r\n`)
  a.pause(); await sleep(400)
  let got = 0; a.on('data', (c) => { got += c.length }); a.resume()
  await sleep(600)
  const b = await e.dialPlain()
  const at = performance.now()
  b.write('GET /small HTTP/1.1\r\nHost: app.localhost\r\n\r\n')
  const ans: string = await new Promise((r) => b.once('data', (c) => r(c.toString('latin1').split('\r\n')[0])))
  console.log(total, 'got', got, 'then', ans, Math.round(performance.now() - at), 'ms')
  a.destroy(); b.destroy()
}
await done()
