import { edge, vm, sleep, done } from './h.ts'
import { switchingProtocols, upgradeRequest } from '../test/helpers/scripted-vm.ts'
const e = await edge({})
const port = await vm((s, text, k) => {
  if (!text.startsWith('GET')) return console.log('vm got', JSON.stringify(text))
  s.on('end', () => console.log('vm saw FIN')); s.on('close', () => console.log('vm conn closed'))
  setTimeout(() => s.write(switchingProtocols(text.split('\r\n\r\n')[0])), 300)
})
await e.route('app.localhost', port)
for (const early of ['', 'early']) {
  console.log('--', early)
  const a = await e.dialPlain()
  a.on('data', (c) => console.log('client got', JSON.stringify(c.toString().slice(0, 30)))); a.on('end', () => console.log('client end'))
  a.write(upgradeRequest('app.localhost') )
  await sleep(50)
  if (early) a.write(early); a.end()
  await sleep(1500); a.destroy(); await sleep(200)
}
await done()
