import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { encodeFrame } from '../lib/frames.ts'
import { AgentConversation } from './conversation.ts'
import { AgentReader, decodeAgentMessage, type AgentMessage } from './decode.ts'
import { encodeHostMessage, type HostMessageOf } from './encode.ts'
import * as numbers from './numbers.ts'

const claim: HostMessageOf<'claim'> = {
  kind: 'claim',
  id: 'j',
  seed: Buffer.alloc(32, 7),
  timeNs: 2n,
  limits: { openFiles: 5 },
  memory: undefined,
  hostname: 'h',
  labels: { k: 'v' },
}
const run: HostMessageOf<'run'> = {
  kind: 'run',
  program: 3,
  streams: ['stdin', 'stdout'],
  uid: 4,
  gid: 5,
  stdoutCredit: 6,
  stderrCredit: 7,
  file: '/a',
  folder: '/',
  args: ['a'],
  variables: [],
  descriptors: [{ number: 9, name: 'd' }],
}

suite('Messages to the agent of a guest', () => {
  test('A claim is its fields in order, little endian, with texts behind their length', () => {
    const unlimited = 'ff'.repeat(8)
    const limits = `${unlimited}0500000000000000${unlimited}${unlimited}${unlimited}`
    const fields = `01 01006a 2000${'07'.repeat(32)} 0200000000000000 ${limits} 010068 01 01006b010076`
    const payload = Buffer.from(fields.replaceAll(' ', ''), 'hex')
    assert.deepEqual(encodeHostMessage(claim), encodeFrame(1, payload))
  })

  test('A renewal is its fields in order', () => {
    const fields = `01 09000000 2000${'07'.repeat(32)} 0200000000000000`
    const payload = Buffer.from(fields.replaceAll(' ', ''), 'hex')
    const { seed, timeNs } = claim
    const frame = encodeHostMessage({ kind: 'renew', nonce: 9, seed, timeNs })
    assert.deepEqual(frame, encodeFrame(11, payload))
  })

  test('The messages hold, look and read consist of their fields in order', () => {
    const at = { nonce: 9, place: 'proc', skip: 0 } as const
    const look = { kind: 'look', ...at, path: Buffer.from([0xff, 0x61]) } as const
    const read = { kind: 'read', nonce: 9, place: 'tmp', path: 'a', offset: 2, bytes: 3 } as const
    const frames = [
      [encodeHostMessage({ kind: 'hold', nonce: 9, on: true }), 12, '01 09000000 01'],
      [encodeHostMessage(look), 13, '01 09000000 05 00000000 0200ff61'],
      [encodeHostMessage(read), 14, '01 09000000 01 0200000000000000 03000000 010061'],
    ] as const
    for (const [frame, kind, fields] of frames)
      assert.deepEqual(frame, encodeFrame(kind, Buffer.from(fields.replaceAll(' ', ''), 'hex')))
  })

  test('The messages about zones consist of their fields in order, with all bits set for a limit that is absent', () => {
    const limits = { memory: 2, processes: 4 }
    const own = '0200000000000000 ffffffff 04000000'
    const frames = [
      [
        encodeHostMessage({ kind: 'rule', nonce: 9, limits, programs: ['a', '/b*'] }),
        16,
        `01 09000000 ${own} 02 010061 03002f622a`,
      ],
      [
        encodeHostMessage({ kind: 'bound', nonce: 9, zone: 3, limits: { cpu: 500 } }),
        17,
        `01 09000000 03000000 ${'ff'.repeat(8)} f4010000 ffffffff`,
      ],
      [encodeHostMessage({ kind: 'finish', nonce: 9, zone: 3 }), 18, '01 09000000 03000000'],
    ] as const
    for (const [frame, kind, fields] of frames)
      assert.deepEqual(frame, encodeFrame(kind, Buffer.from(fields.replaceAll(' ', ''), 'hex')))
  })

  test('A run is its fields in order', () => {
    const ids = '03000000 03 04000000 05000000 06000000 07000000'
    const fields = `01 ${ids} 02002f61 01002f 0100 010061 0000 01 09 010064`
    const payload = Buffer.from(fields.replaceAll(' ', ''), 'hex')
    assert.deepEqual(encodeHostMessage(run), encodeFrame(2, payload))
  })

  test('Values out of range of their fields are refused before anything is sent', () => {
    const bad = [
      { ...claim, seed: Buffer.alloc(31) },
      { kind: 'renew', nonce: 1, seed: Buffer.alloc(257), timeNs: 1n },
      { ...claim, id: 'a b' },
      { ...claim, hostname: '' },
      { ...claim, labels: { k: 'a\nb=c' } },
      { ...claim, limits: { openFiles: -1 } },
      { ...run, file: 'a' },
      { ...run, args: [] },
      { ...run, args: ['a\0b'] },
      { ...run, args: ['a'.repeat(65_000), 'b'.repeat(600)] },
      { ...run, program: 2 ** 32 },
      { ...run, stdoutCredit: 2 ** 30 + 1 },
      { ...run, descriptors: [{ number: 2, name: 'd' }] },
      { kind: 'input', program: 1, bytes: Buffer.alloc(16_385) },
      { kind: 'signal', program: 1, signal: 0, toGroup: false },
      { kind: 'list', nonce: 1, skip: 0, path: 'a'.repeat(4096) },
      { kind: 'look', nonce: 1, place: 'tmp', skip: 0, path: 'a\0b' },
      { kind: 'read', nonce: 1, place: 'tmp', path: 'a', offset: 0, bytes: 65_537 },
      { kind: 'read', nonce: 1, place: 'tmp', path: '', offset: 0, bytes: 1 },
      { kind: 'rule', nonce: 1, limits: {}, programs: [] },
      { kind: 'rule', nonce: 1, limits: {}, programs: Array.from({ length: 17 }, () => 'a') },
      { kind: 'rule', nonce: 1, limits: {}, programs: ['a'.repeat(1025)] },
      { kind: 'rule', nonce: 1, limits: { memory: -1 }, programs: ['a'] },
    ] as const
    for (const message of bad) assert.throws(() => encodeHostMessage(message), RangeError)
  })

  test('Host and agent have the same version, kinds, codes and bounds', () => {
    const header = readFileSync(join(import.meta.dirname, '../../guest/agent/wire.h'), 'utf8')
    const inC = (name: string) => Number(new RegExp(`\\b${name} = (\\d+)`).exec(header)?.[1])
    const order = (first: string) =>
      new RegExp(`${first} = 1, ([A-Z, _]+)`).exec(header)![1]!.trim().toLowerCase().split(', ')
    assert.deepEqual(order('CLAIM'), [...Object.keys(numbers.hostKinds).slice(1), 'kinds_end'])
    assert.equal(inC('HELLO'), numbers.agentKinds.hello)
    const places = /PLACE_OVERLAY = 0, ([A-Z, _]+) }/.exec(header)![1]!.split(', ').slice(0, -1)
    const named = places.map((name) => name.replace('PLACE_', '').toLowerCase())
    assert.deepEqual(['overlay', ...named], numbers.agentFolders)
    const codes = [...header.matchAll(/^ {2}[A-Z_1]+ = (\d\d),$/gm)].map(([, code]) => Number(code))
    for (const code of Object.keys(numbers.lostCodes).slice(1)) assert.ok(codes.includes(+code))
    const bounds = [
      [inC('WIRE_VERSION'), numbers.agentWireVersion],
      [inC('PATH_BYTES_MAX'), numbers.pathBytesMax],
      [inC('STREAM_BYTES_MAX'), numbers.streamBytesMax],
      [inC('WORDS_MAX'), numbers.wordsMax],
      [inC('ENTRIES_MAX'), numbers.listedEntriesMax],
      [inC('STATUS_MAX'), numbers.statusMax],
      [inC('CHUNK_BYTES_MAX'), numbers.chunkBytesMax],
      [inC('RUN_BYTES_MAX'), numbers.runBytesMax],
      [inC('POLICY_BYTES_MAX'), numbers.policyBytesMax],
      [inC('ANSWER_BYTES_MAX'), numbers.answerBytesMax],
      [inC('ZONES_MAX'), numbers.guestZonesMax],
      [inC('ZONES_MADE_MAX'), numbers.zonesMadeMax],
      [inC('ZONE_REFUSALS_MAX'), numbers.zoneRefusalsMax],
      [inC('ZONE_RULES_MAX'), numbers.zoneRulesMax],
      [inC('ZONE_NAMES_MAX'), numbers.zoneNamesMax],
      [inC('ZONE_NAME_BYTES_MAX'), numbers.zoneNameBytesMax],
    ]
    for (const [c, host] of bounds) assert.equal(c, host)
  })
})

suite('Messages of the agent of a guest', () => {
  const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

  test('Frames in any chunks become messages', () => {
    const bytes = Buffer.concat([
      encodeFrame(65, hex('01 00000100 05')),
      encodeFrame(68, hex('01 03000000 02 6869')),
      encodeFrame(71, hex('01 03000000 01 09 0a00000000000000 0b00000000000000')),
    ])
    const reader = new AgentReader()
    const read = [...bytes].flatMap((byte) => [...reader.push(Buffer.from([byte]))])
    const exited = { kind: 'exited', program: 3, end: { signal: 9 }, cpuUs: 10, peakKiB: 11 }
    assert.deepEqual(read, [
      { kind: 'hello', inputBytes: 65_536, abilities: ['limits-memory', 'confines'] },
      { kind: 'output', program: 3, stream: 'stderr', bytes: Buffer.from('hi') },
      exited,
    ])
  })

  const refused: readonly (readonly [title: string, kind: number, payload: string])[] = [
    ['An unknown kind', 64, '01'],
    ['Another version', 65, '02 00000100 00'],
    ['A byte too many', 65, '01 00000100 00 00'],
    ['A byte too few', 65, '01 00000100'],
    ['An ability that there is not', 65, '01 00000100 80'],
    ['Output of a stream that there is not', 68, '01 03000000 03 6869'],
    ['Output without a byte', 68, '01 03000000 01'],
    ['A pid of process 1', 67, '01 03000000 01000000'],
    ['A boot id in another form', 66, `01 ${'00'.repeat(32)} 0100 61 00`],
    ['An entry whose name is a path', 74, '01 00000000 0000 00 0100 0300 612f62 08'],
    ['More entries than a list may have', 74, '01 00000000 0000 00 0101'],
    ['A process more than were counted', 75, `01 00000000 00000000 ${'00'.repeat(16)} 0100`],
    ['A code that there is not', 77, '01 63'],
    ['An errno that there is not', 78, '01 00000000 0000 0010 0000'],
    ['A part of a file that is too long', 80, `01 00000000 0000 01 ${'00'.repeat(16 + 65_537)}`],
    ['A report of a zone that there is not', 83, '01 04 01000000'],
    ['A zone without a number', 83, '01 02 00000000 00 0000000000000000'],
    ['A zone beyond their number', 83, '01 02 fb000000 00 0000000000000000'],
    ['A zone of a rule that there is not', 83, '01 01 01000000 20 00000000 0000'],
    ['A refused zone with a number', 83, '01 03 01000000 00 00000000 0b00 0000'],
    ['Bytes of a file that could not be read', 80, `01 00000000 0200 01 ${'00'.repeat(16)} 61`],
  ]
  for (const [title, kind, payload] of refused)
    test(`${title} is refused`, () => {
      assert.throws(() => decodeAgentMessage(kind, hex(payload)), /violates the protocol$/)
    })

  test('A length over the longest answer is refused before its bytes are awaited', () => {
    const head = Buffer.from([0, 0, 0, 1, 74])
    assert.throws(() => [...new AgentReader().push(head)], /Cannot read a frame/)
  })
})

suite('Observations of an agent', () => {
  const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
  const head = '2a000000 e803000000000000 03000000'
  const about = { kind: 'seen', pid: 42, timeMs: 1, leftOut: 3 } as const

  test('Each kind is read with its own fields', () => {
    const read = [
      `01 01 ${head} d007000000000000 0200 2f61`,
      `01 02 ${head} 05 0600 707472616365 0000`,
      `01 03 ${head} 01 09`,
      `01 04 ${head} 0200000000000000`,
    ].map((payload) => decodeAgentMessage(81, hex(payload)))
    assert.deepEqual(read, [
      { ...about, seen: { what: 'exec', path: '/a', changedMs: 2 } },
      { ...about, seen: { what: 'refusal', class: 'debug', operation: 'ptrace', subject: '' } },
      { ...about, seen: { what: 'exit', end: { signal: 9 } } },
      { ...about, seen: { what: 'oom', times: 2 } },
    ])
  })

  test('An unknown kind or class, and a text that is too long, are refused', () => {
    const long = `0001${'61'.repeat(256)}`
    for (const payload of [
      `01 00 ${head}`,
      `01 05 ${head}`,
      `01 02 ${head} 0d 0000 0000`,
      `01 01 ${head} d007000000000000 ${long}`,
    ])
      assert.throws(() => decodeAgentMessage(81, hex(payload)), /violates the protocol$/)
  })
})

suite('Zones of programs, as an agent reports them', () => {
  const began = (zone: number, outer = 0, rule = 0): AgentMessage => {
    return { kind: 'zone', what: 'began', zone, rule, outer, path: '/a' }
  }
  const gone = (zone: number): AgentMessage => {
    return { kind: 'zone', what: 'gone', zone, isOutOfMemory: false, peakBytes: 1 }
  }
  const refused: AgentMessage = {
    kind: 'zone',
    what: 'refused',
    zone: 0,
    rule: 0,
    outer: 0,
    errno: 11,
    path: '/a',
  }
  const begun = () => {
    const conversation = new AgentConversation()
    conversation.received({ kind: 'hello', inputBytes: 1, abilities: ['zones'] })
    conversation.sent({ kind: 'rule', nonce: 1, limits: {}, programs: ['a'] })
    conversation.received({ kind: 'zoned', nonce: 1, errno: 0 })
    return conversation
  }
  const isRefused = (conversation: AgentConversation, message: AgentMessage) =>
    assert.throws(() => conversation.received(message), /Cannot accept "zone"/)

  test('Zones begin once, within a live one, by a rule that was sent, and end once', () => {
    const conversation = begun()
    conversation.received(began(1))
    conversation.received(began(2, 1))
    for (const bad of [began(2), began(1), began(3, 7), began(3, 0, 1), gone(3)])
      isRefused(conversation, bad)
    conversation.received(gone(2))
    isRefused(conversation, gone(2))
    isRefused(conversation, began(3, 2))
    conversation.received(began(3, 1))
  })

  test('The number of zones at a time, and that of refusals, is bounded', () => {
    assert.equal(numbers.guestZonesMax, 16)
    const conversation = begun()
    for (let zone = 1; zone <= numbers.guestZonesMax; zone++) conversation.received(began(zone))
    isRefused(conversation, began(17))
    for (let at = 0; at < numbers.zoneRefusalsMax; at++) conversation.received(refused)
    isRefused(conversation, refused)
    conversation.received(gone(1))
    conversation.received(began(17))
  })

  test('Without a rule no zone begins, and a copy of a guest goes on with those that there are', () => {
    const conversation = new AgentConversation()
    conversation.received({ kind: 'hello', inputBytes: 1, abilities: ['zones'] })
    isRefused(conversation, began(1))
    assert.ok(!('zones' in conversation.state))
    const zoned = begun()
    zoned.received(began(1))
    const copy = AgentConversation.resume(JSON.parse(JSON.stringify(zoned.state)) as never)
    isRefused(copy, began(1))
    copy.received(gone(1))
    assert.deepEqual([new AgentConversation().hasZones, copy.hasZones], [false, true])
  })
})

suite('A conversation with the agent of a guest', () => {
  test('Observations are accepted up to their credit', () => {
    const conversation = begun()
    const seen = decodeAgentMessage(
      81,
      Buffer.from(`01042a${'00'.repeat(15)}${'00'.repeat(8)}`, 'hex'),
    )
    assert.throws(() => conversation.received(seen), /Cannot accept "seen"/)
    conversation.sent({ kind: 'watch', credit: 2 })
    assert.throws(() => conversation.sent({ kind: 'watch', credit: 4095 }), /Cannot accept "watch"/)
    conversation.received(seen)
    conversation.received(seen)
    assert.throws(() => conversation.received(seen), /Cannot accept "seen"/)
  })

  test('A copy has the credit of observations of its parent until its claim is answered, and then its own alone', () => {
    const [bootId, digest] = ['0'.repeat(36), Buffer.alloc(32)]
    const claimed: AgentMessage = { kind: 'claimed', digest, bootId, steps: {} as never }
    const parent = begun()
    let { state } = parent
    for (let generation = 0; generation < 40; generation++) {
      const copy = AgentConversation.resume(state)
      copy.sent(claim)
      copy.received(claimed)
      copy.sent({ kind: 'watch', credit: 200 })
      ;({ state } = copy)
    }
    assert.equal(state.seenCredit, 200)
    const seen = decodeAgentMessage(
      81,
      Buffer.from(`01042a${'00'.repeat(15)}${'00'.repeat(8)}`, 'hex'),
    )
    const copy = AgentConversation.resume(state)
    copy.sent(claim)
    copy.received(seen)
    copy.received(claimed)
    assert.throws(() => copy.received(seen), /Cannot accept "seen"/)
  })

  const hello: AgentMessage = { kind: 'hello', inputBytes: 65_536, abilities: [] }
  const started: AgentMessage = { kind: 'started', program: 3, pid: 9 }
  const output = (length: number): AgentMessage => ({
    kind: 'output',
    program: 3,
    stream: 'stdout',
    bytes: Buffer.alloc(length),
  })
  const exited: AgentMessage = {
    kind: 'exited',
    program: 3,
    end: { exitCode: 0 },
    cpuUs: 0,
    peakKiB: 0,
  }
  const begun = () => {
    const conversation = new AgentConversation()
    conversation.received(hello)
    conversation.sent(run)
    return conversation
  }

  test('Output beyond its credit is a protocol error, and credit permits more', () => {
    const conversation = begun()
    conversation.received(started)
    conversation.received(output(6))
    assert.throws(() => conversation.received(output(1)), /Cannot accept "output"/)
    conversation.sent({ kind: 'credit', program: 3, stream: 'stdout', bytes: 1 })
    conversation.received(output(1))
  })

  test('A program is forgotten with its exit and the ends of its streams, in either order', () => {
    const ended: AgentMessage = { kind: 'ended', program: 3, stream: 'stdout' }
    for (const order of [
      [exited, ended],
      [ended, exited],
    ]) {
      const conversation = begun()
      for (const message of [started, ...order]) conversation.received(message)
      assert.throws(() => conversation.received(exited), /Cannot accept "exited"/)
      conversation.sent(run)
    }
  })

  test('An answer without a request, a second answer and an answer of another kind are protocol errors', () => {
    const conversation = begun()
    const killed: AgentMessage = { kind: 'killed', nonce: 1, mayBeLeft: false }
    assert.throws(() => conversation.received(killed), /Cannot accept "killed"/)
    conversation.sent({ kind: 'status', nonce: 1 })
    assert.throws(() => conversation.received(killed), /Cannot accept "killed"/)
    conversation.sent({ kind: 'kill', nonce: 2 })
    conversation.received({ ...killed, nonce: 2 })
    assert.throws(() => conversation.received({ ...killed, nonce: 2 }), /Cannot accept "killed"/)
  })

  test('A host sends no message before hello, and a claim once', () => {
    const conversation = new AgentConversation()
    assert.throws(() => conversation.sent(claim), /Cannot accept "claim" for/)
    conversation.received(hello)
    conversation.sent(claim)
    assert.throws(() => conversation.sent(claim), /Cannot accept "claim" for/)
    assert.throws(() => conversation.received(hello), /Cannot accept "hello" from/)
  })

  test('A conversation continues from its saved state with one more claim, and has no state while an answer is pending', () => {
    const conversation = begun()
    conversation.received(started)
    conversation.sent(claim)
    assert.throws(() => conversation.state, /pending requests/)
    const bootId = ''
    const digest = Buffer.alloc(32)
    conversation.received({ kind: 'claimed', digest, bootId, steps: {} as never })
    conversation.sent({ kind: 'hold', nonce: 1, on: true })
    assert.throws(() => conversation.state, /pending requests/)
    conversation.received({ kind: 'held', nonce: 1, errno: 0 })
    const copy = AgentConversation.resume(JSON.parse(JSON.stringify(conversation.state)) as never)
    assert.deepEqual(copy.state, conversation.state)
    copy.sent(claim)
    copy.received(output(6))
    assert.throws(() => copy.received(output(1)), /Cannot accept "output"/)
    conversation.received(output(6))
    assert.throws(() => conversation.sent(claim), /Cannot accept "claim" for/)
  })

  test('A failed boot is lost without a hello, and no message is accepted afterwards', () => {
    const conversation = new AgentConversation()
    conversation.received({ kind: 'lost', code: 24 })
    assert.throws(() => conversation.received(hello), /Cannot accept "hello" from/)
    assert.throws(() => conversation.sent(claim), /Cannot accept "claim" for/)
  })

  test('Input stays within the credit of its program', () => {
    const conversation = begun()
    const input = (length: number) =>
      conversation.sent({ kind: 'input', program: 3, bytes: Buffer.alloc(length) })
    for (let count = 0; count < 4; count++) input(16_384)
    assert.throws(() => input(1), /Cannot accept "input"/)
    conversation.received(started)
    conversation.received({ kind: 'credit', program: 3, bytes: 5 })
    input(5)
    assert.equal(conversation.inputCredit(3), 0)
  })
})
