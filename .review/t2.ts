import { readRequestFields } from '../proxy/request-fields.ts'
import { checkLoop } from '../proxy/forwarding.ts'
const raw: string[] = []
for (let i = 0; i < 3000; i++) raw.push('x', '')
raw.push('Connection', 'a,'.repeat(8000))
let at = performance.now(); readRequestFields(raw); console.log('connection', performance.now() - at, 'ms for', raw.length / 2 * 5 + 16000, 'bytes')
at = performance.now(); try { checkLoop({ fields: { cdnLoop: '"' + '\\"'.repeat(16000) } } as any, 'localhost') } catch (e) { console.log(e) } console.log('cdn-loop', performance.now() - at)
import { BlockList } from 'node:net'
for (const a of ['', 'fe80::1%lo']) try { console.log(JSON.stringify(a), new BlockList().check(a, a ? 'ipv6' : 'ipv4')) } catch (e: any) { console.log(JSON.stringify(a), e.code) }
