/**
 * Builds spans from the event stream, so that rooms need no tracing code: events carry durations, and the span tree of
 * a run is built from its last event.
 *
 *     POST /v1/executions          door/answered
 *     └─ executeEffect             job/ended
 *        ├─ analyzeCode            threat/analysed
 *        ├─ acquireSandbox         queueTime and startTime of job/ended
 *        ├─ runCode                phase/opened, executionTime of job/ended
 *        └─ destroySandbox         teardownTime of job/ended
 *
 * `registerEffect` replaces `executeEffect` for code that is only stored. Code that is only analysed (`threat/judged`) makes an
 * `analyzeCode` span without a parent span of Mayfly. Without an incoming `traceparent`, the trace id is that of the run:
 * `exec_…` without its prefix.
 */
import type { Event, Point, Sink } from '../../contract/event.ts'
import { newSpanId, newTraceId, readTraceparent } from '../../lib/traceparent.ts'
import type { Attribute, Span, SpanEvent } from './span.ts'

export class Spans {
  readonly #out: (span: Span) => void
  readonly #lives = new Map<string, Life>()
  /** Runs evicted because too many were running; their spans are lost. */
  forgotten = 0

  /** `out` gets each span once its tree is complete. */
  constructor(out: (span: Span) => void) {
    this.#out = out
  }

  readonly sink: Sink = (event) => {
    const { point, run, trust } = event
    if (trust !== 'host' && !eventPoints.has(point)) return
    if (point === 'door/answered') return this.#answered(event)
    if (run === null) return
    if (ends.has(point)) return this.#end(event, this.#take(run))
    if (point === 'job/admitted' || point.startsWith('threat/') || eventPoints.has(point))
      addEvent(this.#lifeOf(run), event)
  }

  #lifeOf(run: string): Life {
    const known = this.#lives.get(run)
    if (known) return known
    const [oldest] = this.#lives.keys()
    if (this.#lives.size >= livesMax && oldest !== undefined) {
      this.#lives.delete(oldest)
      this.forgotten += 1
    }
    const life = newLife()
    this.#lives.set(run, life)
    return life
  }

  #take(run: string): Life {
    const life = this.#lives.get(run) ?? newLife()
    this.#lives.delete(run)
    return life
  }

  #answered({ at, fields }: Event): void {
    const own = readTraceparent(text(fields['traceparent']))
    if (!own?.sampled) return
    const status = Number(fields['status'])
    const error = status >= 500 ? String(status) : undefined
    this.#out({
      traceId: own.traceId,
      spanId: own.spanId,
      parentSpanId: text(fields['parent']),
      name: [text(fields['method']), text(fields['route'])].join(' ').trimEnd(),
      kind: 'server',
      start: at - numberOf(fields['took']),
      end: at,
      attributes: {
        'http.request.method': text(fields['method']),
        'http.route': text(fields['route']),
        'http.response.status_code': status,
        'url.scheme': text(fields['scheme']),
        'error.type': error,
      },
      events: [],
      error,
    })
  }

  /** Analysis without a run: a root, or the child of the caller's span. */
  #judged(event: Event, life: Life, parent: ReturnType<typeof readTraceparent>): void {
    const { at, run, fields } = event
    const code = text(fields['code'])
    const refused = part('analyzeCode', at - numberOf(fields['took']), at, [], code)
    const traceId = parent?.traceId ?? traceOf(run!)
    const own = { traceId, spanId: newSpanId(), parentSpanId: parent?.spanId }
    this.#out({ ...(analysisOf(event, life) ?? refused), ...own })
  }

  #end(event: Event, life: Life): void {
    const parent = readTraceparent(text(event.fields['traceparent'] ?? life.traceparent))
    if (parent?.sampled === false) return
    if (event.point === 'threat/judged') return this.#judged(event, life, parent)
    const root = rootOf(event, life, parent?.traceId ?? traceOf(event.run!), parent?.spanId)
    this.#out(root)
    for (const part of [analysisOf(event, life), ...wallsOf(event, life)]) {
      if (!part) continue
      const { traceId, spanId: parentSpanId } = root
      const { start, end } = within(root, part)
      this.#out({ ...part, start, end, traceId, parentSpanId, spanId: newSpanId() })
    }
  }
}

/** Limits: unfinished runs, and stored events per run and point, so that a flood at one point hides no other. */
const livesMax = 4096
const eventsMax = 32

/** State of a run that has not ended. */
interface Life {
  analysis?: { readonly at: number; readonly fields: Event['fields'] }
  unparsed: boolean
  traceparent: unknown
  about: Event['fields']
  opened?: number
  readonly events: SpanEvent[]
  /** Size of `events` by point. */
  readonly eventCounts: Map<Point, number>
}

/** Points that become span events of the run. */
const eventPoints: ReadonlySet<Point> = new Set<Point>([
  'phase/opened',
  'phase/closed',
  'phase/terminated',
  'control/tightened',
  'control/unenforced',
  'capability/denied',
  'limit/hit',
  'anomaly/found',
  'output/refused',
  'output/truncated',
  'tier/lost',
])

const ends: ReadonlySet<Point> = new Set<Point>([
  'job/ended',
  'job/unrecorded',
  'effect/registered',
  'effect/refused',
  'threat/judged',
])

function newLife(): Life {
  return { unparsed: false, traceparent: undefined, about: {}, events: [], eventCounts: new Map() }
}

function addEvent(life: Life, { point, at, trust, fields }: Event): void {
  if (point === 'job/admitted') {
    life.about = fields
    life.traceparent = fields['traceparent']
  }
  if (point === 'threat/unparsed') life.unparsed = true
  if (point === 'threat/analysed') life.analysis = { at, fields }
  if (point === 'phase/opened' && trust === 'host') life.opened ??= at
  if (!eventPoints.has(point)) return
  const before = life.eventCounts.get(point) ?? 0
  if (before >= eventsMax) return
  life.eventCounts.set(point, before + 1)
  // Names only: no text of a guest becomes an attribute.
  const phase = trust === 'host' ? text(fields['phase']) : undefined
  const attributes = { 'mayfly.trust': trust, 'mayfly.phase': phase }
  life.events.push({ name: point, at, attributes })
}

function rootOf(
  { point, run, at, fields }: Event,
  life: Life,
  traceId: string,
  parentSpanId: string | undefined,
): Span {
  const isEffect = point.startsWith('effect/')
  const verdict = life.analysis?.fields ?? {}
  const failed =
    point === 'job/ended' ? !successStatuses.has(text(fields['status'])!) : !isSuccess(point)
  const error = failed ? (text(fields['code']) ?? text(fields['status']) ?? 'UNKNOWN') : undefined
  return {
    traceId,
    spanId: newSpanId(),
    parentSpanId,
    name: isEffect ? 'registerEffect' : 'executeEffect',
    kind: 'internal',
    start: at - numberOf(fields['took']),
    end: at,
    attributes: {
      'mayfly.run': run,
      'mayfly.tenant': text(life.about['tenant'] ?? verdict['tenant']),
      'mayfly.origin': text(life.about['origin']),
      'mayfly.effect.id': text(fields['effectId']),
      'mayfly.status': text(fields['status']),
      'mayfly.tier': text(fields['tier']),
      'mayfly.provider': text(fields['provider']),
      'mayfly.threat.score': scoreOf(fields['threatScore'] ?? verdict['threatScore']),
      'mayfly.risk': scoreOf(verdict['risk']),
      'mayfly.behavior.score': isEffect ? undefined : scoreOf(fields['behaviorScore']),
      ...(!isEffect && { 'mayfly.execution.time_ms': numberOf(fields['executionTime']) }),
      ...(isEffect && { 'mayfly.signature.valid': fields['signatureValid'] === true }),
      'error.type': error,
    },
    events: [],
    error,
  }
}

/** Cancellation is not an error. */
const successStatuses: ReadonlySet<string> = new Set(['ok', 'cancelled'])

function isSuccess(point: Point): boolean {
  return point === 'effect/registered'
}

type Part = Omit<Span, 'traceId' | 'spanId' | 'parentSpanId'>

function analysisOf({ fields }: Event, { analysis, unparsed }: Life): Part | undefined {
  if (!analysis) return undefined
  const { at, fields: verdict } = analysis
  const syntax = verdict['kind'] === 'syntax-error' ? 'SYNTAX_ERROR' : undefined
  const error = unparsed ? 'UNPARSED' : syntax
  return {
    name: 'analyzeCode',
    kind: 'internal',
    start: at - numberOf(verdict['took']),
    end: at,
    attributes: {
      'mayfly.threat.score': scoreOf(verdict['threatScore']),
      'mayfly.risk': scoreOf(verdict['risk']),
      'mayfly.threat.patterns': namesOf(verdict['patterns']),
      'mayfly.language': text(verdict['language']),
      'mayfly.cache.hit': verdict['cached'] === true,
      'mayfly.blocked': fields['status'] === 'blocked' ? true : undefined,
      'error.type': error,
    },
    events: [],
    error,
  }
}

/** Spans of the sandbox: acquire, run, destroy. */
function wallsOf({ point, at, fields }: Event, life: Life): readonly (Part | undefined)[] {
  const status = text(fields['status'])
  if (point !== 'job/ended') return []
  const [waited, ran, tore] = [
    numberOf(fields['queueTime']) + numberOf(fields['startTime']),
    numberOf(fields['executionTime']),
    numberOf(fields['teardownTime']),
  ]
  const { opened } = life
  const error = text(fields['code']) ?? status
  const noWall = opened === undefined && (status === 'unavailable' || status === 'failed')
  const acquired = opened ?? at - tore
  const ended = opened === undefined ? at : opened + ran
  return [
    waited > 0 || noWall
      ? part('acquireSandbox', acquired - waited, acquired, [], noWall ? error : undefined)
      : undefined,
    opened === undefined
      ? undefined
      : part(
          'runCode',
          opened,
          ended,
          life.events,
          successStatuses.has(status!) ? undefined : error,
        ),
    tore > 0 ? part('destroySandbox', at - tore, at) : undefined,
  ]
}

function part(
  name: string,
  start: number,
  end: number,
  events: readonly SpanEvent[] = [],
  error?: string,
): Part {
  const attributes = { 'error.type': error }
  return { name, kind: 'internal', start, end, attributes, events, error }
}

/** Clamps children into their parent, because events are timed in whole milliseconds. */
function within(
  root: Span,
  { start, end }: Part,
): { readonly start: number; readonly end: number } {
  const from = Math.min(Math.max(start, root.start), root.end)
  return { start: from, end: Math.min(Math.max(end, from), root.end) }
}

/** Trace id from the 32 hex digits of a run's id, which are random enough. */
function traceOf(run: string): string {
  return /_([0-9a-f]{32})$/.exec(run)?.[1] ?? newTraceId()
}

function namesOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? [...new Set(value.map(String))].slice(0, 64) : []
}

function scoreOf(value: unknown): Attribute | undefined {
  return typeof value === 'number' ? value : undefined
}

function numberOf(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : 0
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
