/** What the responder answers, judged by dns-packet, which shares no code with it. */

import { decode, encode, type Packet, RECURSION_DESIRED } from 'dns-packet'
import t from 'tap'
import { createAnswerer, type Transport } from '../../../acme/dns/answerer.ts'
import { createZone } from '../../../acme/dns/zone.ts'

const ZONE = 'acme.example.test'
const VALUE = 'x'.repeat(43)
const table = {
  ready: true,
  ageMs: 0,
  findTxt: (label: string) => {
    if (label === 'abc') return [VALUE, 'second']
    // The table has full names as well, for other servers.
    if (label === 'a.abc') return ['not here']
    if (label === 'some') return new Array<string>(40).fill(VALUE)
    if (label === 'long') return ['y'.repeat(600)]
    return label === 'many' ? Array.from({ length: 500 }, (_, index) => `${VALUE}${index}`) : []
  },
}
const zone = createZone({ table }, { zone: ZONE, names: ['ns1.example.test', 'ns2.example.test'] })
const answerer = createAnswerer({ zone }, { zone: ZONE })

function query(name: string, type = 'TXT', rest: object = {}): Buffer {
  return encode({ type: 'query', id: 4711, questions: [{ name, type: type as 'TXT' }], ...rest })
}

const EDNS = {
  additionals: [
    {
      type: 'OPT',
      name: '.',
      udpPayloadSize: 4096,
      extendedRcode: 0,
      ednsVersion: 0,
      flags: 0,
      flag_do: false,
      options: [],
    },
  ],
}

/** dns-packet tells the code by its name, which its types do not know. */
function ask(bytes: Buffer, transport: Transport = 'udp') {
  const answer = answerer.answer(bytes, transport)
  if (answer === undefined) throw new Error('no answer')
  return decode(answer) as ReturnType<typeof decode> & { readonly rcode: string }
}

/** The strings of each TXT record. */
function textsOf({ answers = [] }: Packet): readonly (readonly string[])[] {
  return answers.map((answer) => (answer.type === 'TXT' ? [answer.data].flat().map(String) : []))
}

const codesOf = (bytes: Buffer) => ask(bytes).rcode

t.test('answers the values of a label, authoritative, to be kept by nobody', async (t) => {
  const answer = ask(query(`abc.${ZONE}`, 'TXT', { flags: RECURSION_DESIRED }))
  t.match(answer, {
    id: 4711,
    flag_qr: true,
    flag_aa: true,
    flag_rd: true,
    flag_ra: false,
    flag_tc: false,
    rcode: 'NOERROR',
  })
  t.match(answer.answers, [{ name: `abc.${ZONE}`, type: 'TXT', ttl: 0 }, { ttl: 0 }])
  t.strictSame(textsOf(answer), [[VALUE], ['second']])
  t.equal(ask(query(`abc.${ZONE}`)).flag_rd, false)
  t.match(ask(query(`long.${ZONE}`)).flag_tc, true)
  const [long = []] = textsOf(ask(query(`long.${ZONE}`), 'tcp'))
  t.strictSame(
    long.map((part) => part.length),
    [255, 255, 90],
    'long text is in several strings',
  )
})

t.test('keeps the case of the question and finds names in any case', async (t) => {
  const answer = ask(query('aBc.AcMe.ExAmPlE.tEsT'))
  t.equal(answer.questions?.[0]?.name, 'aBc.AcMe.ExAmPlE.tEsT')
  t.equal(answer.answers?.[0]?.name, 'aBc.AcMe.ExAmPlE.tEsT')
})

t.test('has SOA and NS at the apex, and no other kind of record anywhere', async (t) => {
  t.match(ask(query(ZONE, 'SOA')).answers, [
    { type: 'SOA', data: { mname: 'ns1.example.test', rname: `hostmaster.${ZONE}`, minimum: 1 } },
  ])
  t.match(ask(query(ZONE, 'NS')).answers, [{ data: 'ns1.example.test' }, { data: 'ns2.example.test' }])
  t.match(ask(query(ZONE, 'ANY')).answers, [{ type: 'SOA' }], 'ANY is answered with one kind (RFC 8482)')
  t.match(ask(query(`abc.${ZONE}`, 'ANY')).answers, [{ type: 'TXT' }, { type: 'TXT' }])
  for (const type of ['A', 'AAAA', 'MX', 'CAA', 'DS', 'DNSKEY', 'TXT', 'CNAME']) {
    const name = type === 'TXT' ? ZONE : `abc.${ZONE}`
    t.match(
      ask(query(name, type)),
      { rcode: 'NOERROR', flag_aa: true, answers: [], authorities: [{ type: 'SOA', name: ZONE, ttl: 1 }] },
      type,
    )
  }
})

t.test('denies what is not there for one second', async (t) => {
  for (const name of [`nobody.${ZONE}`, `deep.abc.${ZONE}`, `abc.deep.${ZONE}`, `*.${ZONE}`]) {
    t.match(
      ask(query(name)),
      {
        rcode: 'NXDOMAIN',
        flag_aa: true,
        answers: [],
        authorities: [{ type: 'SOA', ttl: 1, data: { minimum: 1 } }],
      },
      name,
    )
  }
  const dotted = Buffer.concat([
    query('a').subarray(0, 12),
    Buffer.from('\x05a.abc\x04acme\x07example\x04test\0\0\x10\0\x01', 'latin1'),
  ])
  t.equal(codesOf(dotted), 'NXDOMAIN', 'a dot within a label is no border')
})

t.test('says SERVFAIL while its table is not there, so that the next server is asked', async (t) => {
  table.ready = false
  t.teardown(() => {
    table.ready = true
  })
  t.match(ask(query(`abc.${ZONE}`)), { rcode: 'SERVFAIL', flag_aa: false, answers: [] })
  t.equal(codesOf(query(ZONE, 'SOA')), 'NOERROR')
})

t.test('refuses what is not its own, and says so in few bytes', async (t) => {
  for (const name of ['example.test', 'test', '.', `x${ZONE}`, 'other.test']) {
    t.match(ask(query(name)), { rcode: 'REFUSED', flag_aa: false, answers: [], authorities: [] }, name)
  }
  for (const type of ['AXFR', 'IXFR', 'TSIG', 'TKEY', 'OPT'])
    t.equal(codesOf(query(ZONE, type)), 'REFUSED', type)
  t.equal(
    codesOf(encode({ type: 'query', questions: [{ name: ZONE, type: 'TXT', class: 'CH' }] })),
    'REFUSED',
  )
  t.equal(codesOf(query(`abc.${ZONE}`, 'TXT', { flags: 5 << 11 })), 'NOTIMP')
})

t.test('says FORMERR to what is no question', async (t) => {
  const good = query(`abc.${ZONE}`)
  const patch = (at: number, value: number) => {
    const bytes = Buffer.from(good)
    bytes.writeUInt16BE(value, at)
    return bytes
  }
  const option = query(`abc.${ZONE}`, 'TXT', EDNS)
  const cases = {
    'no question': patch(4, 0).subarray(0, 12),
    'two questions': patch(4, 2),
    'more entries than bytes': patch(10, 65_535),
    'an answer in a question': patch(6, 1),
    'bytes behind the end': Buffer.concat([good, Buffer.from([0])]),
    'cut short': good.subarray(0, -1),
    'more records than a question has': Buffer.concat([
      patch(10, 4),
      ...new Array<Buffer>(4).fill(Buffer.from('0000010001000000000000', 'hex')),
    ]),
    'an OPT that is cut short': Buffer.concat([option.subarray(0, -1), Buffer.from([5])]),
    'a pointer to a root in the header': Buffer.concat([
      Buffer.from('000000000001000000000000', 'hex'),
      Buffer.from('c00000100001', 'hex'),
    ]),
    'a pointer into the header': Buffer.concat([
      good.subarray(0, 12),
      Buffer.from([0xc0, 0x00, 0, 16, 0, 1]),
    ]),
    'a pointer to itself': Buffer.concat([good.subarray(0, 12), Buffer.from([0xc0, 0x0c, 0, 16, 0, 1])]),
    'a label of an unknown kind': Buffer.concat([good.subarray(0, 12), Buffer.from([0x41, 0, 0, 16, 0, 1])]),
    'a name of more than 255 bytes': query(Array.from({ length: 64 }, () => 'abc').join('.')),
    'two OPT': query(ZONE, 'TXT', { additionals: [...EDNS.additionals, ...EDNS.additionals] }),
    'an OPT with a name': Buffer.concat([
      option.subarray(0, good.length),
      Buffer.from([1, 97]),
      option.subarray(good.length),
    ]),
    'more than the longest query': query(`abc.${ZONE}`, 'TXT', {
      additionals: [
        { ...EDNS.additionals[0], options: [{ code: 12, length: 500, type: 'PADDING' } as const] },
      ],
    }),
  }
  for (const [what, bytes] of Object.entries(cases)) {
    const answer = answerer.answer(bytes, 'udp')
    t.equal(answer?.length, 12, what)
    t.equal(answer && answer.readUInt16BE(2) & 15, 1, what)
  }
})

t.test('is silent to answers and to what has no header', async (t) => {
  const answer = query(`abc.${ZONE}`)
  answer.writeUInt16BE(0x8400, 2)
  for (const bytes of [answer, Buffer.alloc(0), Buffer.alloc(11)]) {
    t.equal(answerer.answer(bytes, 'udp'), undefined)
    t.equal(answerer.truncate(bytes), undefined)
  }
})

t.test('speaks EDNS version 0', async (t) => {
  const [option] = ask(query(`abc.${ZONE}`, 'TXT', EDNS)).additionals ?? []
  t.match(option, {
    type: 'OPT',
    name: '.',
    udpPayloadSize: 1232,
    ednsVersion: 0,
    extendedRcode: 0,
    options: [],
  })
  const [first] = EDNS.additionals
  const ahead = { additionals: first ? [{ ...first, ednsVersion: 1 }] : [] }
  t.match(
    ask(query(`abc.${ZONE}`, 'TXT', ahead)),
    { rcode: 'NOERROR', flag_aa: false, answers: [], additionals: [{ extendedRcode: 1, ednsVersion: 0 }] },
    'BADVERS',
  )
  t.strictSame(ask(query(`abc.${ZONE}`)).additionals, [], 'nothing to whom does not')
})

t.test('cuts over UDP what is too long, and has it all over TCP', async (t) => {
  const plain = query(`many.${ZONE}`)
  t.match(ask(plain), { flag_tc: true, flag_aa: true, rcode: 'NOERROR', answers: [] })
  t.match(ask(query(`many.${ZONE}`, 'TXT', EDNS)), { flag_tc: true, additionals: [{ type: 'OPT' }] })
  t.equal(ask(query(`some.${ZONE}`, 'TXT', EDNS)).flag_tc, true, 'however much the client would take')
  t.match(ask(plain, 'tcp'), { flag_tc: false, answers: { length: 100 } })
})

t.test('is a poor weapon: answers are hardly longer than questions', async (t) => {
  const factor = (bytes: Buffer) => (answerer.answer(bytes, 'udp')?.length ?? 0) / bytes.length
  const usual = createAnswerer(
    {
      zone: createZone(
        { table: { ready: true, ageMs: 0, findTxt: () => [VALUE, VALUE] } },
        { zone: ZONE, names: ['ns1.example.test'] },
      ),
    },
    { zone: ZONE },
  )
  const bytes = query(`${'a'.repeat(20)}.${ZONE}`, 'TXT', EDNS)
  const usualFactor = (usual.answer(bytes, 'udp')?.length ?? 0) / bytes.length
  t.comment(
    `two values ${usualFactor.toFixed(2)}, denial ${factor(query(`nobody.${ZONE}`, 'TXT', EDNS)).toFixed(2)}`,
  )
  t.ok(usualFactor < 3, 'two values')
  t.ok(factor(query(`nobody.${ZONE}`, 'TXT', EDNS)) < 3, 'a denial')
  t.ok(factor(query(ZONE, 'ANY')) < 3.2, 'ANY')
  t.equal(factor(query('other.test')), 1, 'a refusal')
  t.equal((answerer.truncate(bytes)?.length ?? 0) / bytes.length, 1, 'above the rate')
})
