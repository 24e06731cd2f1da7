/** A resolver for one test: it answers from lists, as Node's own answers. */

import type { CheckResolver } from '../../../acme/checks/lookup.ts'
import type { SoaView } from '../../../acme/dns/zone.ts'

type Answers<Value> = Readonly<Record<string, readonly Value[] | Error>>

export interface Script {
  readonly a?: Answers<string>
  readonly aaaa?: Answers<string>
  readonly cname?: Answers<string>
  readonly caa?: Answers<object>
  readonly soa?: Answers<SoaView>
}

export function resolverOf({ a = {}, aaaa = {}, cname = {}, caa = {}, soa = {} }: Script): CheckResolver {
  return {
    resolve4: async (name) => get(a, name),
    resolve6: async (name) => get(aaaa, name),
    resolveCname: async (name) => get(cname, name),
    resolveCaa: async (name) => get(caa, name),
    resolveSoa: async (name) => {
      const [first] = get(soa, name)
      return first ?? absent()
    },
  }
}

function get<Value>(answers: Answers<Value>, name: string): readonly Value[] {
  const found = answers[name]
  if (found instanceof Error) throw found
  return found ?? absent()
}

function absent(): never {
  throw Object.assign(new Error('absent'), { code: 'ENODATA' })
}
