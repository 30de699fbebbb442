import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Duplex, Readable } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { encodeFrame, FrameDecoder } from '../../src/lib/frames.ts'
import { capOf, javascriptCap, typescriptCap } from '../../src/threat/cap.ts'
import type { InspectRequest } from '../../src/threat/inspect.ts'
import type { Inspection } from '../../src/threat/inspection.ts'

/** The analysis process without its jail: the parsers themselves must survive. */
const program = fileURLToPath(new URL('../../guest/analyst.js', import.meta.url))
const replyBytesMax = 16 * 2 ** 20

type Analyst = Awaited<ReturnType<typeof startAnalyst>>

async function startAnalyst() {
  const child = spawn(process.execPath, ['--max-semi-space-size=2', program], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    env: { ...process.env, MAYFLY_ANALYST: '{"warm":0}' },
  })
  const socket = child.stdio[3] as Duplex
  socket.on('error', () => undefined)
  const decoder = new FrameDecoder(replyBytesMax)
  const waiting: ((reply: Inspection) => void)[] = []
  socket.on('data', (chunk: Buffer) => {
    for (const { payload } of decoder.push(chunk)) waiting.shift()?.(JSON.parse(payload.toString()))
  })
  await once(child.stdio[4] as Readable, 'data')
  const ended = once(child, 'exit')
  const gone = ended.then(() => {
    throw new Error('the analysis process ended')
  })
  gone.catch(() => undefined)
  return {
    ask: (request: Partial<InspectRequest>) => {
      const reply = new Promise<Inspection>((resolve) => void waiting.push(resolve))
      socket.write(encodeFrame(1, JSON.stringify({ entry: 'auto', files: [], ...request })))
      return Promise.race([reply, gone])
    },
    say: (text: string) => socket.write(encodeFrame(1, text)),
    ended,
    end: async () => {
      socket.end()
      await ended
    },
  }
}

const nests: Record<string, (times: number) => string> = {
  parentheses: (n) => '('.repeat(n) + '1' + ')'.repeat(n),
  brackets: (n) => '['.repeat(n) + ']'.repeat(n),
  braces: (n) => '{'.repeat(n) + '}'.repeat(n),
  objects: (n) => `x=${'{a:'.repeat(n)}1${'}'.repeat(n)}`,
  'template holes': (n) => '`${'.repeat(n) + '1' + '}`'.repeat(n),
  arrows: (n) => `${'a=>'.repeat(n)}1`,
  'arrows in calls': (n) => 'a=>(a,'.repeat(n) + '1' + ')'.repeat(n),
  exclamations: (n) => `${'!'.repeat(n)}1`,
  news: (n) => `${'new '.repeat(n)}a`,
  conditionals: (n) => `${'a?b:'.repeat(n)}c`,
  'inner conditionals': (n) => `${'a?'.repeat(n)}b${':c'.repeat(n)}`,
  'else-ifs': (n) => `${'if(a);else '.repeat(n)};`,
  'else-dos': (n) => `${'if(a)do x; while(b);else '.repeat(n)};`,
  additions: (n) => `${'a+'.repeat(n)}a`,
  powers: (n) => `${'a**'.repeat(n)}a`,
  comparisons: (n) => `${'a<'.repeat(n)}a`,
  members: (n) => `a${'.b'.repeat(n)}`,
  calls: (n) => `a${'.b()'.repeat(n)}`,
  'optional links': (n) => `a${'?.b'.repeat(n)}`,
  'tagged templates': (n) => `a${'``'.repeat(n)}`,
  functions: (n) => 'function f(){'.repeat(n) + '}'.repeat(n),
  classes: (n) => `x=${'class extends '.repeat(n)}a${'{}'.repeat(n)}`,
  'default parameters': (n) => '(a=('.repeat(n) + '1' + '))=>1'.repeat(n),
  patterns: (n) => `var ${'[a='.repeat(n)}1${']'.repeat(n)}=1`,
  switches: (n) => 'switch(a){case 1:'.repeat(n) + '}'.repeat(n),
}

/** Deepest source that passes the cap. */
function deepest(make: (times: number) => string, limits: typeof javascriptCap): string {
  let [low, high] = [1, 100_000]
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (capOf(make(middle), limits).kind === 'within') low = middle
    else high = middle
  }
  return make(low)
}

describe('the deepest sources', () => {
  let analyst: Analyst
  before(async () => {
    analyst = await startAnalyst()
  })
  after(() => analyst.end())

  for (const [name, make] of Object.entries(nests)) {
    test(`the parsers live through the deepest ${name} that pass the cap`, async () => {
      for (const [language, limits] of [
        ['js', javascriptCap],
        ['ts', typescriptCap],
      ] as const) {
        const { found } = await analyst.ask({ code: deepest(make, limits), language })
        assert.ok(!found.some(({ name }) => name === 'UNPARSED'))
      }
    })

    test(`100,000 nested ${name} never reach a parser`, async () => {
      const { found } = await analyst.ask({ code: make(100_000), language: 'js' })
      assert.deepEqual(
        found.map(({ name }) => name),
        ['UNPARSED'],
      )
    })
  }
})

test('an invalid request ends the process without a reply', async () => {
  const other = await startAnalyst()
  other.say('{')
  const [status, signal] = await other.ended
  assert.ok(status !== 0 || signal !== null)
})
