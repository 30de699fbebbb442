import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from '../../../tests/sim/simulated-clock.ts'
import { EventStream } from '../event-stream.ts'
import type { Span } from './span.ts'
import { Spans } from './spans.ts'

const run = 'exec_0192f3a4b5c67d8e9fa0b1c2d3e4f506'
const runTrace = run.slice(5)
const parent = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' }
const traceparent = `00-${parent.traceId}-${parent.spanId}-01`

test('A job becomes executeEffect with child spans for its steps (S3-54, S3-55, S3-56)', async () => {
  const { spans, named } = await heard(async ({ emitter, pass }) => {
    emitter.emit(
      'threat/analysed',
      { threatScore: 40, risk: 0, patterns: ['EVAL', 'EVAL', 'NETWORK'], took: 5, tenant: 'acme' },
      { run },
    )
    emitter.emit('job/admitted', { tenant: 'acme', origin: 'http', traceparent }, { run })
    await pass(3)
    emitter.emit('phase/opened', { phase: 'full' }, { run })
    await pass(20)
    emitter.emit('phase/closed', { phase: 'full' }, { run })
    emitter.emit('job/ended', { ...ended, status: 'ok', took: 28, teardownTime: 0.5 }, { run })
  })
  const names = ['executeEffect', 'analyzeCode', 'acquireSandbox', 'runCode', 'destroySandbox']
  assert.deepEqual(
    spans.map(({ name }) => name),
    names,
  )
  const root = named('executeEffect')
  assert.deepEqual([root.traceId, root.parentSpanId], [parent.traceId, parent.spanId])
  for (const span of spans.slice(1)) {
    assert.deepEqual([span.traceId, span.parentSpanId], [root.traceId, root.spanId])
    assert.ok(span.start >= root.start && span.end <= root.end && span.start <= span.end)
  }
  assert.equal(new Set(spans.map(({ spanId }) => spanId)).size, spans.length)
  assert.equal(root.attributes['mayfly.execution.time_ms'], 20)
  assert.equal(root.end - root.start, 28)
  assert.deepEqual(named('analyzeCode').attributes['mayfly.threat.patterns'], ['EVAL', 'NETWORK'])
  assert.equal(named('runCode').end - named('runCode').start, 20)
  assert.deepEqual(
    named('runCode').events.map(({ name }) => name),
    ['phase/opened', 'phase/closed'],
  )
  assert.ok(spans.every(({ error }) => error === undefined))
})

test('A registration becomes registerEffect with its score, and analyzeCode below it (S3-54)', async () => {
  const { spans, named } = await heard(({ emitter }) => {
    emitter.emit('threat/analysed', { threatScore: 20, patterns: [], took: 2 }, { run })
    emitter.emit('effect/registered', { effectId: 'a', threatScore: 20, took: 3 }, { run })
  })
  assert.deepEqual(
    spans.map(({ name }) => name),
    ['registerEffect', 'analyzeCode'],
  )
  const root = named('registerEffect')
  assert.deepEqual([root.traceId, root.parentSpanId], [runTrace, undefined])
  assert.equal(root.attributes['mayfly.threat.score'], 20)
  assert.equal(root.attributes['mayfly.effect.id'], 'a')
  assert.equal(named('analyzeCode').parentSpanId, root.spanId)
})

const failures: readonly (readonly [
  stage: string,
  say: (emitter: EventStream) => void,
  errors: Readonly<Record<string, string | undefined>>,
])[] = [
  [
    'the source does not parse',
    (emitter) => {
      emitter.emit('threat/analysed', { kind: 'syntax-error' }, { run })
      emitter.emit('job/ended', { status: 'error', code: 'SYNTAX_ERROR' }, { run })
    },
    { executeEffect: 'SYNTAX_ERROR', analyzeCode: 'SYNTAX_ERROR' },
  ],
  [
    'the parser died',
    (emitter) => {
      emitter.emit('threat/unparsed', {}, { run })
      emitter.emit('threat/analysed', { kind: 'verdict', patterns: ['UNPARSED'] }, { run })
      emitter.emit('job/ended', { status: 'unavailable', code: 'NO_WALL' }, { run })
    },
    { executeEffect: 'NO_WALL', analyzeCode: 'UNPARSED', acquireSandbox: 'NO_WALL' },
  ],
  [
    'the policy blocks it',
    (emitter) => {
      emitter.emit('threat/analysed', { kind: 'verdict', patterns: ['VM_ESCAPE'] }, { run })
      emitter.emit('job/ended', { status: 'blocked', code: 'THREAT_DETECTED' }, { run })
    },
    { executeEffect: 'THREAT_DETECTED', analyzeCode: undefined },
  ],
  [
    'no wall is to be had',
    (emitter) => emitter.emit('job/ended', { status: 'unavailable', code: 'OVERLOADED' }, { run }),
    { executeEffect: 'OVERLOADED', acquireSandbox: 'OVERLOADED' },
  ],
  [
    'the code throws',
    (emitter) => {
      emitter.emit('phase/opened', {}, { run })
      emitter.emit('job/ended', { status: 'error', code: 'GUEST' }, { run })
    },
    { executeEffect: 'GUEST', runCode: 'GUEST' },
  ],
  [
    'the time is over, and nothing more is known',
    (emitter) => {
      emitter.emit('phase/opened', {}, { run })
      emitter.emit('job/ended', { status: 'timeout' }, { run })
    },
    { executeEffect: 'timeout', runCode: 'timeout' },
  ],
  [
    'it cannot be written down',
    (emitter) => emitter.emit('job/unrecorded', { code: 'STATE' }, { run }),
    { executeEffect: 'STATE' },
  ],
  [
    'the effect is refused',
    (emitter) => {
      emitter.emit('threat/analysed', { kind: 'verdict' }, { run })
      emitter.emit('effect/refused', { code: 'THREAT_DETECTED' }, { run })
    },
    { registerEffect: 'THREAT_DETECTED', analyzeCode: undefined },
  ],
]

for (const [stage, say, errors] of failures)
  test(`S3-59: when ${stage}, the affected spans have an error`, async () => {
    const { spans } = await heard(({ emitter }) => say(emitter))
    assert.deepEqual(Object.fromEntries(spans.map(({ name, error }) => [name, error])), errors)
    for (const { attributes, error } of spans) assert.equal(attributes['error.type'], error)
  })

test('A cancelled job is no error', async () => {
  const { named } = await heard(({ emitter }) =>
    emitter.emit('job/ended', { status: 'cancelled', code: 'CANCELLED' }, { run }),
  )
  assert.equal(named('executeEffect').error, undefined)
})

test('A trace not sampled by the caller is not exported', async () => {
  const { spans } = await heard(({ emitter }) => {
    const unsampled = traceparent.replace(/01$/, '00')
    emitter.emit('job/admitted', { traceparent: unsampled }, { run })
    emitter.emit('job/ended', { status: 'ok' }, { run })
    emitter.emit('door/answered', { status: 200, traceparent: unsampled })
  })
  assert.deepEqual(spans, [])
})

test('An answered request is a server span; only a status of 500 and more is an error', async () => {
  const { spans } = await heard(({ emitter }) => {
    const about = { method: 'POST', route: '/v1/executions', traceparent, parent: 'f'.repeat(16) }
    for (const status of [200, 422, 503])
      emitter.emit('door/answered', { ...about, status, took: 7 })
  })
  assert.deepEqual(
    spans.map(({ name, kind, parentSpanId, error }) => [name, kind, parentSpanId, error]),
    [200, 422, 503].map((status) => [
      'POST /v1/executions',
      'server',
      'f'.repeat(16),
      status === 503 ? '503' : undefined,
    ]),
  )
  assert.deepEqual([spans[0]!.spanId, spans[0]!.traceId], [parent.spanId, parent.traceId])
})

test('Events of a guest end nothing, and none of their text becomes an attribute', async () => {
  const { spans } = await heard(({ emitter }) => {
    const guest = { run, trust: 'guest' } as const
    emitter.emit('job/ended', { status: 'ok' }, guest)
    emitter.emit('phase/opened', { phase: 'full' }, { run })
    emitter.emit('capability/denied', { capability: 'secret words', phase: 'secret words' }, guest)
    emitter.emit('job/ended', { status: 'ok' }, { run })
  })
  assert.equal(spans.filter(({ name }) => name === 'executeEffect').length, 1)
  assert.ok(!JSON.stringify(spans).includes('secret words'))
})

test('Code that is only analysed has its own span, and leaves no span open', async () => {
  const { made, spans } = await heard(({ emitter }) => {
    for (let at = 0; at < 5000; at += 1) {
      const about = { run: `exec_${String(at)}` }
      emitter.emit('threat/analysed', { threatScore: 40, patterns: ['EVAL'] }, about)
      emitter.emit('threat/judged', { took: 3 }, about)
    }
  })
  assert.deepEqual([made.forgotten, spans.length], [0, 5000])
  assert.deepEqual([spans[0]!.name, spans[0]!.parentSpanId], ['analyzeCode', undefined])
  assert.deepEqual(spans[0]!.attributes['mayfly.threat.patterns'], ['EVAL'])
})

test('Runs that never end are evicted, and counted', async () => {
  const { made } = await heard(({ emitter }) => {
    for (let at = 0; at < 5000; at += 1)
      emitter.emit('job/admitted', {}, { run: `exec_${String(at)}` })
  })
  assert.equal(made.forgotten, 5000 - 4096)
})

const ended = { tier: 'isolate', queueTime: 1, startTime: 2, executionTime: 20 }

async function heard(
  say: (stage: {
    emitter: EventStream
    pass: (ms: number) => Promise<void>
  }) => void | Promise<void>,
) {
  const clock = new SimulatedClock()
  const spans: Span[] = []
  const made = new Spans((span) => spans.push(span))
  const emitter = new EventStream({ clock, sinks: [made.sink] })
  const pass = async (ms: number): Promise<void> => {
    clock.after(ms, () => undefined)
    await clock.run()
  }
  await say({ emitter, pass })
  assert.equal(emitter.stats().failed, 0)
  return { spans, made, named: (name: string) => spans.find((span) => span.name === name)! }
}
