import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { Mayfly, SandboxThreatDetector, SecureSandbox } from '../../src/index.ts'
import { test } from '../fixtures/drawn.ts'
import { openCollector, type Collector } from './collector.ts'
import { metricsIn, type Metrics } from './prometheus.ts'
import {
  documentOf,
  makePlace,
  mayfly,
  startServer,
  whenReady,
  type Place,
  type Server,
} from './program.ts'

const traceId = '0af7651916cd43dd8448eb211c80319c'
const askingSpan = 'b7ad6b7169203331'
const traceparent = `00-${traceId}-${askingSpan}-01`
const preload = {
  NODE_OPTIONS: `--import ${new URL('../fixtures/loaded-modules.js', import.meta.url).href}`,
  // Makes Mayfly run its sources, not the bundle of them.
  NODE_V8_COVERAGE: mkdtempSync(join(tmpdir(), 'mayfly-coverage-')),
}
after(() => rmSync(preload.NODE_V8_COVERAGE, { recursive: true, force: true }))

suite('Telemetry of a server', () => {
  test('S3-5, S3-54, S3-55, S3-56: a collector gets all three spans with their attributes, linked to the caller', async () => {
    await withServer(async ({ server, collector }) => {
      const registered = await post(server, '/api/effects/register', {
        effectId: 'double',
        code: 'if (input.length > 9) fetch("https://a.example")\nreturn input.map((n) => n * 2)',
      })
      const { threatScore } = registered.body.security
      assert.equal(threatScore, 75)
      const executed = await post(
        server,
        '/api/effects/execute',
        { effectId: 'double', input: [1, 2] },
        { traceparent },
      )
      assert.deepEqual([executed.status, executed.body.result], [200, [2, 4]])
      await server.stop()

      const [register] = collector.named('registerEffect')
      const execute = collector.named('executeEffect').find((one) => one.traceId === traceId)
      assert.ok(register && execute)
      assert.equal(register.attributes['mayfly.threat.score'], threatScore)
      assert.equal(register.attributes['mayfly.effect.id'], 'double')
      assert.equal(register.error, undefined)
      const { executionTime } = executed.body.metrics
      assert.ok(executionTime > 0)
      assert.equal(execute.attributes['mayfly.execution.time_ms'], executionTime)
      assert.equal(execute.attributes['mayfly.run'], executed.body.id)
      assert.equal(execute.attributes['mayfly.effect.id'], 'double')
      for (const parent of [register, execute]) {
        const [analysis, more] = childrenOf(collector, parent.spanId, 'analyzeCode')
        assert.deepEqual(analysis?.attributes['mayfly.threat.patterns'], ['NETWORK'])
        assert.equal(more, undefined)
        assert.equal(analysis.traceId, parent.traceId)
        assert.ok(analysis.start >= parent.start && analysis.end <= parent.end)
      }
      const [run] = childrenOf(collector, execute.spanId, 'runCode')
      assert.deepEqual(run?.events, ['phase/opened', 'phase/closed'])

      const request = collector.spans.find((one) => one.spanId === execute.parentSpanId)
      assert.equal(request?.name, 'POST /api/effects/execute')
      assert.deepEqual([request.kind, request.parentSpanId], [2, askingSpan])
      assert.equal(request.attributes['http.response.status_code'], 200)
      const asked = collector.spans.find((one) => one.spanId === register.parentSpanId)
      assert.deepEqual(
        [asked?.name, asked?.parentSpanId],
        ['POST /api/effects/register', undefined],
      )
      assert.equal(collector.resources[0]?.['service.name'], 'tested')
      assert.equal(collector.headers[0]?.['x-key'], 'a b')
    })
  })

  test('S3-54, S3-56: registerEffect and analyzeCode of the classes are spans that end, and leave nothing open', async () => {
    await using collector = await openCollector()
    const place = makePlace()
    const config = { state: place.state, telemetry: { endpoint: collector.url } }
    await using library = await Mayfly.open(config)
    const sandbox = new SecureSandbox({ mayfly: library })
    await sandbox.registerEffect('net', 'fetch("https://a.example")')
    await assert.rejects(sandbox.registerEffect('bad', 'let a = ;'), { code: 'INVALID' })
    const detector = new SandboxThreatDetector({ mayfly: library })
    const { score } = await detector.analyzeCode('while (true) eval("process.exit()")')
    await detector.analyzeCode('let a = ;')
    await library.initializeExecution('return 1').then((zones) => library.monitorZones(zones))
    await library[Symbol.asyncDispose]()

    const registered = collector.named('registerEffect')
    assert.deepEqual(
      registered.map(({ attributes, error }) => [attributes['mayfly.effect.id'], error]),
      [
        ['net', undefined],
        ['bad', 'SYNTAX_ERROR'],
      ],
    )
    const [analysis] = childrenOf(collector, registered[0]!.spanId, 'analyzeCode')
    assert.deepEqual(analysis?.attributes['mayfly.threat.patterns'], ['NETWORK'])
    const judged = collector.named('analyzeCode').filter((one) => one.parentSpanId === undefined)
    const found = judged.find(({ attributes }) => attributes['mayfly.threat.score'] === score)
    assert.match(String(found?.attributes['mayfly.threat.patterns']), /EVAL/)
    assert.ok(judged.some(({ error }) => error === 'SYNTAX_ERROR'))
  })

  test('A WebSocket has a span and a duration like any other request, and its job is a child span', async () => {
    await withServer(async ({ server, collector }) => {
      const address = `${server.active.replace('http', 'ws')}/v1/executions`
      const headers = { authorization: `Bearer ${server.apiKey}`, traceparent }
      const socket = new WebSocket(address, { headers })
      await once(socket, 'open')
      socket.send('{"code":"return 1"}')
      await once(socket, 'close')
      // The server is notified of the end of the connection shortly after the client.
      await sleep(500)
      await server.stop()

      const request = collector.spans.find(
        ({ attributes }) => attributes['http.response.status_code'] === 101,
      )
      assert.equal(request?.name, 'GET /v1/executions')
      assert.deepEqual([request.traceId, request.parentSpanId], [traceId, askingSpan])
      const about = {
        'http.request.method': 'GET',
        'http.route': '/v1/executions',
        'http.response.status_code': 101,
        'url.scheme': 'http',
      }
      assert.deepEqual(request.attributes, about)
      const [execute] = childrenOf(collector, request.spanId, 'executeEffect')
      assert.ok(execute && execute.start >= request.start && execute.end <= request.end)
      const { points } = collector.metrics.get('http.server.request.duration')!
      assert.deepEqual(
        points.find(({ attributes }) => attributes['http.response.status_code'] === 101),
        {
          attributes: about,
          value: 1,
        },
      )
    })
  })

  test('S3-59: each failing stage leaves an error in its span and a line in the record', async () => {
    await withServer(async ({ server, collector, place }) => {
      const expected = {
        'return 1 +': ['error', 'analyzeCode', 'SYNTAX_ERROR'],
        'throw new Error("secret words")': ['error', 'runCode', 'error'],
        'for (;;) {}': ['timeout', 'runCode', 'TIMEOUT'],
        'return "no number"': ['refused', 'executeEffect', 'SCHEMA_MISMATCH'],
        'return 1 // no such wall': ['unavailable', 'executeEffect', undefined],
      } as const
      for (const [code, [status, name, error]] of Object.entries(expected)) {
        const { id, outcome } = await fail(server, code)
        assert.equal(outcome.status, status, code)
        const spans = await spansOf(collector, id)
        const [root] = spans.filter((one) => one.name === 'executeEffect')
        assert.equal(root?.attributes['mayfly.status'], status)
        assert.ok(root.error !== undefined, code)
        const span = spans.find((one) => one.name === name)
        assert.ok(span?.error !== undefined, code)
        if (error) assert.equal(span.error, error, code)
        assert.equal(span.attributes['error.type'], span.error)
        const lines: any = documentOf(
          await mayfly(place, ['audit', 'list', '--limit', '100000', '--json']),
        )
        assert.ok(
          lines.some((line: any) => line.kind === 'ended' && line.run === id),
          code,
        )
      }
      const blocked = await post(server, '/api/effects/register', {
        effectId: 'bad',
        code: 'this.constructor.constructor("return process")().exit()',
      })
      assert.deepEqual([blocked.status, blocked.body.code], [403, 'THREAT_DETECTED'])
      await server.stop()
      assert.equal(collector.named('registerEffect')[0]?.error, 'THREAT_DETECTED')
      const recorded: any = documentOf(
        await mayfly(place, ['audit', 'list', '--limit', '100000', '--json']),
      )
      assert.ok(
        recorded.some(
          ({ body: { point, fields } }: any) =>
            point === 'threat/audited' && fields.effectId === 'bad' && fields.blocked,
        ),
      )
      assert.ok(!JSON.stringify(collector.spans, bigint).includes('secret words'))
    })
  })

  test('S3-53: a blocked registration is on the stream of threats, with its patterns', async () => {
    await withServer(async ({ server }) => {
      const stop = new AbortController()
      const stream = await fetch(new URL('/v1/threats/stream', server.active), {
        headers: headersOf(server),
        signal: stop.signal,
      })
      const code = 'this.constructor.constructor("return process")().exit()'
      const asking = post(server, '/api/effects/register', { effectId: 'bad', code })
      const kinds: string[] = []
      let text = ''
      for await (const chunk of stream.body!.pipeThrough(new TextDecoderStream())) {
        text += chunk
        const frames = text.split('\n\n').slice(1, -1)
        const threats = frames.map((frame) => JSON.parse(frame.slice(frame.indexOf('{'))))
        kinds.splice(0, kinds.length, ...threats.map(({ kind }) => kind))
        if (!kinds.includes('blocked')) continue
        const { patterns, threatScore } = threats.at(-1)
        assert.deepEqual([threatScore, patterns.includes('VM_ESCAPE')], [100, true])
        break
      }
      assert.deepEqual(kinds, ['audited', 'blocked'])
      assert.equal((await asking).status, 403)
      stop.abort()
      await server.stop()
    }, false)
  })

  test('Metrics arrive under the names of the semantic conventions, and equal those for Prometheus', async () => {
    await withServer(async ({ server, collector }) => {
      for (let at = 0; at < 5; at += 1) await post(server, '/v1/executions', { code: 'return 1' })
      const { value } = await metricsOf(server)
      await server.stop()
      const sent = (name: string): number | undefined =>
        collector.metrics.get(name)?.points.reduce((sum, point) => sum + point.value, 0)
      assert.equal(sent('mayfly.executions'), 5)
      assert.equal(value('mayfly_executions_total{status="ok",tier="isolate"}'), 5)
      assert.equal(sent('mayfly.execution.duration'), 5)
      assert.ok(sent('process.cpu.time')! > 0)
      assert.ok(sent('process.memory.usage')! > 2 ** 20)
      const requests = collector.metrics.get('http.server.request.duration')
      assert.equal(requests?.unit, 's')
      const posts = requests.points.filter(
        ({ attributes }) => attributes['http.route'] === '/v1/executions',
      )
      assert.deepEqual(
        posts.map(({ attributes, value: count }) => [
          attributes['http.response.status_code'],
          count,
        ]),
        [[200, 5]],
      )
    })
  })

  test('S3-62: after 1,000 mixed runs metrics, record and an independent count agree', async () => {
    await withServer(async ({ server, place }) => {
      const counted = new Map<string, number>()
      const codes = Object.keys(asked)
      let next = 0
      const client = async (): Promise<void> => {
        for (let at = next++; at < 1000; at = next++) {
          // A time-out takes its time: few of them.
          const code = at % 100 === 0 ? 'for (;;) {}' : codes[(at * 7) % codes.length]!
          const { outcome } = await fail(server, code)
          counted.set(outcome.status, (counted.get(outcome.status) ?? 0) + 1)
        }
      }
      await Promise.all([client(), client(), client()])
      const { series, sum, value } = await metricsOf(server)
      const shown = new Map<string, number>()
      for (const one of series.filter(({ name }) => name === 'mayfly_executions_total')) {
        const { status = '' } = one.labels
        shown.set(status, (shown.get(status) ?? 0) + one.value)
      }
      assert.deepEqual(sorted(shown), sorted(counted))
      assert.deepEqual([...counted.keys()].sort(), [
        'error',
        'ok',
        'refused',
        'timeout',
        'unavailable',
      ])
      assert.equal(sum('mayfly_executions_total'), 1000)
      assert.equal(value('mayfly_admissions_total'), 1000)
      assert.equal(value('mayfly_executions_running'), 0)
      assert.equal(value('mayfly_pool_running'), 0)
      assert.equal(sum('mayfly_analyses_total'), 1000)
      assert.ok(sum('mayfly_walls') >= 1 && sum('mayfly_walls_memory_bytes') > 2 ** 20)
      await server.stop()
      const lines = documentOf(
        await mayfly(place, ['audit', 'list', '--limit', '5000', '--json']),
      ) as any
      const recorded = new Map<string, number>()
      for (const line of lines)
        if (line.kind === 'ended') recorded.set(line.status, (recorded.get(line.status) ?? 0) + 1)
      assert.deepEqual(sorted(recorded), sorted(counted))
    }, false)
  })

  test('Disabled telemetry is not loaded: no exporter in a server, and no meters in a single run', async () => {
    await withPlace(async (place) => {
      await using off = await startServer(place, [], preload)
      await off.stop()
      assert.match(off.stderr(), /loaded src\/telemetry\/meters\.ts/)
      assert.doesNotMatch(off.stderr(), /loaded src\/telemetry\/otlp\//)
      const once = await mayfly(place, ['run', '-'], { stdin: 'return 1', env: preload })
      assert.match(once.stderr, /loaded src\/telemetry\/event-stream\.ts/)
      assert.doesNotMatch(once.stderr, /loaded src\/telemetry\/(otlp\/|meters|threats)/)
    })
    await withPlace(async (place) => {
      const env = { ...preload, OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' }
      await using on = await startServer(place, [], env)
      await on.stop()
      assert.match(on.stderr(), /loaded src\/telemetry\/otlp\/exporter\.ts/)
    })
  })

  test('A library sends the spans of its jobs as children of the given span', async () => {
    await withPlace(async (place) => {
      await using collector = await openCollector()
      process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] = collector.url
      try {
        await using library = await Mayfly.open({ state: place.state })
        const outcome = await library.run({ code: 'return 1' }, { traceparent })
        const own = await library.run({ code: 'return 1' }, { traceparent: 'not a traceparent' })
        await library.close()
        const [first, second] = [outcome, own].map(({ id }) =>
          collector.spans.find((one) => one.attributes['mayfly.run'] === id),
        )
        assert.deepEqual([first?.traceId, first?.parentSpanId], [traceId, askingSpan])
        assert.deepEqual([second?.traceId, second?.parentSpanId], [own.id.slice(5), undefined])
      } finally {
        delete process.env['OTEL_EXPORTER_OTLP_ENDPOINT']
      }
    })
  })

  test('A library that cannot be opened closes its exporter', async () => {
    await withPlace(async (place) => {
      await using collector = await openCollector()
      process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] = collector.url
      try {
        const file = join(place.cwd, 'file')
        writeFileSync(file, '')
        await assert.rejects(Mayfly.open({ state: join(file, 'state') }))
        // The exporter sends its metrics when it is closed, and else after a minute.
        assert.equal(collector.bodies, 1)
      } finally {
        delete process.env['OTEL_EXPORTER_OTLP_ENDPOINT']
      }
    })
  })

  test('With --verbose every event of a run is a line of JSON with its id, without text of the guest', async () => {
    await withPlace(async (place) => {
      const stdin = 'console.log("secret words"); throw new Error("secret words")'
      const ran = await mayfly(place, ['run', '-', '--json', '--verbose'], { stdin })
      const { id } = documentOf(ran)
      const lines = ran.stderr.split('\n').filter((line) => line.startsWith('{'))
      const events = lines.map((line) => JSON.parse(line) as { run: string; point: string })
      const points = events.filter(({ run }) => run === id).map(({ point }) => point)
      for (const point of ['job/admitted', 'threat/analysed', 'phase/opened', 'job/ended'])
        assert.ok(points.includes(point), point)
      assert.ok(!lines.join().includes('secret words'))
    })
  })

  test('A single run sends its spans before it ends', async () => {
    await withPlace(async (place) => {
      await using collector = await openCollector()
      const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }
      const ran = await mayfly(place, ['run', '-'], { stdin: 'return 1', env })
      assert.equal(ran.code, 0, ran.stderr)
      assert.equal(collector.named('executeEffect').length, 1)
      assert.equal(collector.named('analyzeCode').length, 1)
    })
  })
})

const asked: Readonly<Record<string, object>> = {
  'return 1': {},
  'return 1 +': {},
  'throw new Error("secret words")': {},
  'for (;;) {}': { limits: { timeout: '30ms' } },
  'return "no number"': { output: { schema: { type: 'number' } } },
  'return 1 // no such wall': { floor: 'microvm' },
}

async function fail(server: Server, code: string): Promise<{ id: string; outcome: any }> {
  const { body } = await post(server, '/v1/executions', { code, ...asked[code] })
  const outcome = body.outcome ?? body
  return { id: outcome.id, outcome }
}

async function spansOf(collector: Collector, id: string) {
  for (let tried = 0; tried < 200; tried += 1) {
    const root = collector.spans.find((one) => one.attributes['mayfly.run'] === id)
    if (root) return [root, ...collector.spans.filter((one) => one.parentSpanId === root.spanId)]
    await sleep(25)
  }
  throw new Error(`No span of ${id} came`)
}

function childrenOf(collector: Collector, spanId: string, name: string) {
  return collector.named(name).filter((one) => one.parentSpanId === spanId)
}

function sorted(map: ReadonlyMap<string, number>): unknown {
  return [...map].sort(([a], [b]) => a.localeCompare(b))
}

async function metricsOf(server: Server): Promise<Metrics> {
  const answer = await fetch(new URL('/metrics', server.active), { headers: headersOf(server) })
  assert.equal(answer.status, 200)
  assert.equal(answer.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
  return metricsIn(await answer.text())
}

async function post(
  server: Server,
  path: string,
  body: unknown,
  more: Record<string, string> = {},
) {
  const answer = await fetch(new URL(path, server.active), {
    method: 'POST',
    headers: { ...headersOf(server), ...more, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return { status: answer.status, body: (await answer.json()) as any }
}

function headersOf(server: Server): Record<string, string> {
  return { authorization: `Bearer ${server.apiKey}` }
}

async function withPlace(then: (place: Place) => Promise<void>): Promise<void> {
  const place = makePlace()
  try {
    await then(place)
  } finally {
    place.remove()
  }
}

async function withServer(
  then: (with_: { server: Server; collector: Collector; place: Place }) => Promise<void>,
  exports = true,
): Promise<void> {
  await withPlace(async (place) => {
    await using collector = await openCollector()
    const env = {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_HEADERS: 'x-key=a%20b',
      OTEL_SERVICE_NAME: 'tested',
      OTEL_BSP_SCHEDULE_DELAY: '50',
    }
    await using server = await startServer(place, [], exports ? env : {})
    await whenReady(server)
    await then({ server, collector, place })
  })
}

const bigint = (_: string, value: unknown): unknown =>
  typeof value === 'bigint' ? String(value) : value
