import { H1Exchange } from '../proxy/h1-exchange.ts'
const o = H1Exchange.prototype.onSettled
H1Exchange.prototype.onSettled = function (this: any) { console.log('settled', this.target, 'waiting', this.client.waiting.length, 'destroyed', this.stream.destroyed, this.stream.writableLength); o.call(this) }
await import(process.argv[2]!)
