import { sourcesOf } from '../../src/jail/own-programs.ts'
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { callClasses } from '../../src/contract/calls.ts'
import { watchedCalls } from '../../src/jail/sentinel-policy.ts'
import { encodeFrame } from '../../src/lib/frames.ts'
import {
  encodeTable,
  parseSentinelMessage,
} from '../../src/warden/engines/processes/sentinel-wire.ts'
import { noCompiler } from '../fixtures/c-compiler.ts'
import { sampledRuns } from '../fixtures/drawn.ts'
import { fuzzLives } from './lives.ts'
import { fuzz, mutated, type Seeded } from './seeded.ts'

/** The sentinel under its compiler's sanitizers: for any input it replies or exits. */
const units = sourcesOf('sentinel').filter((file) => file.endsWith('.c'))
const lives = process.env['MAYFLY_LONG'] ? 5000 : sampledRuns(60, import.meta.filename)
const framesMax = 12
/** Exit codes that the sentinel defines. Any other, or a signal, is a fault. */
const own = new Set([0, 2, 3, 4, 6, 7, 8])
const skip = process.platform !== 'linux' ? 'it needs Linux' : noCompiler

function number(value: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes)
  buffer.writeUIntLE(value, 0, bytes)
  return buffer
}

const samples = [
  encodeFrame(1, encodeTable(7, [{ afterMs: 0, allow: ['exec'] }])),
  encodeFrame(
    1,
    encodeTable(
      8,
      Array.from({ length: 64 }, (_, index) => ({
        afterMs: index * 1000,
        allow: [...callClasses],
      })),
    ),
  ),
  encodeFrame(1, encodeTable(9, [{ afterMs: 2 ** 32 - 1, allow: [], kills: true }])),
  encodeFrame(2, Buffer.from([1])),
  encodeFrame(3, number(1, 4)),
  encodeFrame(4, Buffer.concat([number(2 ** 20, 6), Buffer.alloc(2), number(1, 4)])),
  encodeFrame(5, Buffer.from([1])),
  encodeFrame(6, Buffer.concat([number(7, 6), Buffer.alloc(2), number(11, 1)])),
  encodeFrame(
    7,
    Buffer.concat([number(9, 4), number(40_000, 2), number(3128, 2), number(0x0100007f, 4)]),
  ),
]

const kindsSaid = new Set<string>()

async function live(file: string, random: Seeded): Promise<void> {
  const child = spawn(file, ['watch', `parent=${process.pid}`, ...watchedCalls()], {
    env: { ASAN_OPTIONS: 'detect_leaks=0' },
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe', 'ignore', 'ignore'],
  })
  const stdio = child.stdio as unknown as Socket[]
  let [said, complaint] = ['', '']
  for (const socket of stdio) socket?.on('error', () => undefined)
  child.stderr!.on('data', (chunk: Buffer) => (complaint += chunk.toString()))
  stdio[3]!.on('data', (chunk: Buffer) => (said += chunk.toString('latin1')))
  stdio[4]!.resume()
  const ended = new Promise<number | null>((resolve) => void child.once('close', resolve))
  const count = 1 + random.below(framesMax)
  for (let frame = 0; frame < count; frame++) {
    const bytes = random.below(3) === 0 ? random.pick(samples) : mutated(random, samples)
    if (random.below(10) === 0)
      stdio[4]!.write(mutated(random, [Buffer.concat([number(3, 4), number(5, 4)])]))
    else stdio[3]!.write(bytes)
  }
  stdio[3]!.end()
  const late = setTimeout(() => child.kill('SIGABRT'), 10_000)
  const code = await ended
  clearTimeout(late)
  assert.ok(code !== null && own.has(code), `it ended with ${code}: ${complaint.slice(0, 2000)}`)
  for (const line of said.split('\n').slice(0, -1)) {
    const word = parseSentinelMessage(line)
    assert.ok(word, line)
    kindsSaid.add(word.kind)
  }
}

test(
  'For any input the sentinel replies within its protocol or exits with a code of its own',
  { skip },
  async (t) => {
    await fuzzLives(t, { units, lives, live })
    assert.ok(kindsSaid.size > 1, `it said ${[...kindsSaid].join() || 'nothing'}`)
  },
)

/** Only here: another machine's compiler may have more warnings, and must still build the wall. */
test('The source of the sentinel compiles without warnings', { skip }, () => {
  const asked = [
    '-std=gnu11',
    '-O2',
    '-Wall',
    '-Wextra',
    '-Wmissing-prototypes',
    '-Werror',
    '-D_FORTIFY_SOURCE=2',
  ]
  for (const unit of units) {
    const { status, stderr } = spawnSync('cc', [...asked, '-c', '-o', '/dev/null', unit])
    assert.equal(status, 0, stderr.toString())
  }
})

test('Any message of a sentinel is parsed as part of the protocol or ignored', (t) => {
  const words = [
    '{"kind":"ready","pid":7,"scratch":1}',
    '{"kind":"flipped","t":1.5,"generation":1,"allow":31,"lateUs":3}',
    '{"kind":"capturing","processes":2}',
    '{"kind":"socket","nonce":3,"inode":8812}',
    '{"kind":"table","t":1.5,"generation":1,"allow":3,"planned":0,"tookUs":4}',
    '{"kind":"seen","t":1,"monotonic":1,"pid":2,"call":59,"class":"exec","verdict":"denied","writes":false,"leftOut":0,"path":"/bin/true"}',
  ].map((word) => Buffer.from(word))
  for (const word of words) assert.ok(parseSentinelMessage(word.toString()))
  fuzz(t, {
    cases: 5000,
    long: 1_000_000,
    attempt(random) {
      const word = parseSentinelMessage(mutated(random, words).toString('latin1'))
      if (word && 'allow' in word) assert.ok(word.allow.every((name) => callClasses.includes(name)))
    },
  })
})
