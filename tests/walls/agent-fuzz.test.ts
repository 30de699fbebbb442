import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { AgentConversation } from '../../src/agent-wire/conversation.ts'
import { AgentReader, decodeAgentMessage } from '../../src/agent-wire/decode.ts'
import { encodeHostMessage, type HostMessage } from '../../src/agent-wire/encode.ts'
import { agentKinds, answerBytesMax, claimSteps } from '../../src/agent-wire/numbers.ts'
import { encodeFrame } from '../../src/lib/frames.ts'
import { sampledRuns } from '../fixtures/drawn.ts'
import { agentSkip, GuestAgent, runOf } from '../fixtures/guest-agent.ts'
import { fuzzLives } from '../fuzz/lives.ts'
import { fuzz, mutated, type Seeded } from '../fuzz/seeded.ts'

const skip = agentSkip()
const units = globSync(join(import.meta.dirname, '../../guest/agent/*.c')).sort()
const lives = process.env['MAYFLY_LONG'] ? 3000 : sampledRuns(60, import.meta.filename)
const framesMax = 12
/** Exit codes that a host can cause: the end of the channel, and each fault of its bytes. */
const own = new Set([0, 10, 11, 12, 13, 14])
const lifeMsMax = 20_000

const nonce = 7
const messages: readonly HostMessage[] = [
  {
    kind: 'claim',
    id: 'job',
    seed: Buffer.alloc(32, 1),
    timeNs: 1n,
    limits: { openFiles: 64, processes: 500 },
    memory: 2 ** 28,
    hostname: 'clone',
    labels: { one: 'two' },
  },
  { ...runOf(1, 'cat; exit 3'), variables: ['A=b'] },
  { ...runOf(2, 'yes'), stdoutCredit: 70_000 },
  { kind: 'input', program: 1, bytes: Buffer.from('hello') },
  { kind: 'close', program: 1 },
  { kind: 'credit', program: 2, stream: 'stdout', bytes: 9 },
  { kind: 'signal', program: 1, signal: 15, toGroup: true },
  { kind: 'kill', nonce },
  { kind: 'phase', nonce, command: { do: 'remount-read-only', path: '/run' } },
  { kind: 'phase', nonce, command: { do: 'lower-limit', limit: 'openFiles', value: 40 } },
  { kind: 'phase', nonce, command: { do: 'kill-writers', path: '/run' } },
  { kind: 'phase', nonce, command: { do: 'close-writing' } },
  { kind: 'phase', nonce, command: { do: 'lower-memory', bytes: 2 ** 26 } },
  {
    kind: 'phase',
    nonce,
    command: { do: 'replace-policy', closes: ['exec'], policy: Buffer.alloc(300, 7) },
  },
  { kind: 'list', nonce, path: 'folder', skip: 3 },
  { kind: 'status', nonce },
  { kind: 'watch', credit: 9 },
  { kind: 'renew', nonce, seed: Buffer.alloc(32, 2), timeNs: 1n },
  { kind: 'hold', nonce, on: true },
  { kind: 'look', nonce, place: 'proc', path: 'self', skip: 1 },
  { kind: 'read', nonce, place: 'proc', path: 'mounts', offset: 3, bytes: 99 },
  { kind: 'rule', nonce, limits: { memory: 2 ** 26, cpu: 500 }, programs: ['sh', '/usr/*/c*'] },
  { kind: 'bound', nonce, zone: 1, limits: { processes: 9 } },
  { kind: 'finish', nonce, zone: 1 },
]
const samples = messages.map(encodeHostMessage)

const kindsAnswered = new Set<string>()

/** Runs as an ordinary user, because mutated frames start programs. */
async function live(file: string, random: Seeded): Promise<void> {
  const agent = new GuestAgent(file, 'an ordinary user', ['overlay=/run'])
  agent.isWatched = false
  const late = setTimeout(() => agent.socket.destroy(), lifeMsMax / 2)
  const count = 1 + random.below(framesMax)
  for (let frame = 0; frame < count; frame++)
    agent.socket.write(random.below(3) === 0 ? random.pick(samples) : mutated(random, samples))
  agent.socket.end()
  const start = performance.now()
  const code = await agent.ended
  clearTimeout(late)
  assert.ok(performance.now() - start < lifeMsMax, 'the agent hung')
  assert.ok(own.has(code as number), `it ended with ${code}: ${agent.complaint.slice(0, 2000)}`)
  assert.equal(agent.complaint, '')
  assert.equal(agent.fault, undefined)
  for (const { kind } of agent.messages) kindsAnswered.add(kind)
}

test(
  'For mutated input the agent answers within its protocol, or exits with one of its codes',
  { skip },
  async (t) => {
    await fuzzLives(t, { units, lives, live })
    assert.ok(kindsAnswered.size > 1, `it said ${[...kindsAnswered].join() || 'nothing'}`)
  },
)

/** Only here: another machine's compiler may have more warnings, and must still build the agent. */
test('The source of the agent compiles without warnings', { skip }, () => {
  const asked = '-std=gnu11 -O2 -Wall -Wextra -Wconversion -Wmissing-prototypes -Werror'.split(' ')
  for (const unit of units) {
    const to = ['-D_FORTIFY_SOURCE=2', '-c', '-o', '/dev/null', unit]
    const { status, stderr } = spawnSync('cc', [...asked, ...to])
    assert.equal(status, 0, stderr.toString())
  }
})

function bytes(...numbers: readonly (readonly [value: number, bytes: number])[]): Buffer {
  return Buffer.concat(
    numbers.map(([value, length]) => {
      const buffer = Buffer.alloc(length)
      buffer.writeUIntLE(value, 0, Math.min(length, 6))
      return buffer
    }),
  )
}

const text = (value: string) => Buffer.concat([bytes([value.length, 2]), Buffer.from(value)])
const of = (kind: number, ...parts: readonly Buffer[]) =>
  encodeFrame(kind, Buffer.concat([Buffer.from([1]), ...parts]))
const steps = claimSteps.map((_, index) => bytes([index + 1, 1], [index % 2, 2]))
const said = [
  of(65, bytes([65_536, 4], [3, 1])),
  of(
    66,
    Buffer.alloc(32, 3),
    text('01234567-89ab-cdef-0123-456789abcdef'),
    bytes([claimSteps.length, 1]),
    ...steps,
  ),
  of(67, bytes([1, 4], [42, 4])),
  of(68, bytes([1, 4], [1, 1]), Buffer.from('output')),
  of(69, bytes([1, 4], [2, 1])),
  of(70, bytes([1, 4], [5, 4])),
  of(71, bytes([1, 4], [0, 1], [3, 1], [9, 8], [10, 8])),
  of(72, bytes([nonce, 4], [0, 1])),
  of(73, bytes([nonce, 4], [16, 2], [2, 4])),
  of(74, bytes([nonce, 4], [0, 2], [1, 1], [1, 2]), text('name'), bytes([8, 1], [5, 8], [6, 8])),
  of(
    75,
    bytes([nonce, 4], [1, 4], [3, 8], [4, 8]),
    bytes([2, 8], [6, 4], [7, 4], [1, 1], [1, 2], [5, 4], [1, 4]),
    text('sh'),
    bytes([5, 8], [6, 8]),
  ),
  of(76, bytes([2, 1], [1, 4], [6, 1], [2, 2])),
  of(77, bytes([13, 1])),
  of(78, bytes([nonce, 4], [0, 2], [1, 2], [0, 2])),
  of(81, bytes([1, 1], [42, 4], [1000, 8], [0, 4], [900, 8]), text('/bin/true')),
  of(81, bytes([2, 1], [42, 4], [1000, 8], [0, 4], [2, 1]), text('create'), text('inet')),
  of(81, bytes([3, 1], [42, 4], [1000, 8], [0, 4], [1, 1], [9, 1])),
  of(81, bytes([4, 1], [0, 4], [1000, 8], [7, 4], [1, 8])),
  of(79, bytes([nonce, 4], [0, 2])),
  of(82, bytes([nonce, 4], [3, 2])),
  of(83, bytes([1, 1], [1, 4], [0, 1], [0, 4]), text('/usr/bin/sh')),
  of(83, bytes([2, 1], [1, 4], [1, 1], [9, 8])),
  of(83, bytes([3, 1], [0, 4], [0, 1], [1, 4], [11, 2]), text('/usr/bin/sh')),
  of(80, bytes([nonce, 4], [0, 2], [1, 1], [33_188, 4], [0, 4], [9, 8]), Buffer.from('a part')),
]

test('Mutated bytes of an agent are read as messages within their bounds, or refused with a RangeError', (t) => {
  assert.deepEqual(new Set(said.map((frame) => frame[4])), new Set(Object.values(agentKinds)))
  for (const frame of said)
    assert.doesNotThrow(() => decodeAgentMessage(frame[4]!, frame.subarray(5)))
  const all = Buffer.concat(said)
  assert.equal([...new AgentReader().push(all)].length, said.length)
  fuzz(t, {
    cases: 20_000,
    long: 1_000_000,
    attempt(random) {
      const reader = new AgentReader()
      const conversation = new AgentConversation()
      try {
        for (const message of reader.push(mutated(random, [...said, all]))) {
          assert.ok(Buffer.byteLength(JSON.stringify(message)) < 8 * answerBytesMax)
          conversation.received(message)
        }
      } catch (thrown) {
        assert.ok(thrown instanceof RangeError, String(thrown))
        assert.match(thrown.message, /^Cannot (read|accept) /)
      }
    },
  })
})

test('In any order of messages, a conversation has a bounded number of requests and programs, and no negative credit', (t) => {
  const read = said.map((frame) => decodeAgentMessage(frame[4]!, frame.subarray(5)))
  fuzz(t, {
    cases: 500,
    long: 20_000,
    attempt(random) {
      const conversation = new AgentConversation()
      conversation.received(read[0]!)
      for (let step = 0; step < 100; step++) {
        try {
          if (random.below(2) === 0) conversation.sent(varied(random))
          else conversation.received(random.pick(read))
        } catch (thrown) {
          assert.ok(thrown instanceof RangeError, String(thrown))
        }
        const credit = conversation.inputCredit(1)
        assert.ok(credit >= 0 && credit <= 65_536)
      }
    },
  })
})

function varied(random: Seeded): HostMessage {
  const message = random.pick(messages)
  if ('nonce' in message) return { ...message, nonce: random.below(100) }
  return 'program' in message ? { ...message, program: random.below(40) } : message
}
