import { createRequire } from 'node:module'
import type { ASTNode, Environment, ParseResult } from '@marcbachmann/cel-js'
import { messageOf } from './error.ts'
import { anomalySeverities } from './anomaly.ts'
import { lifePoints, type Point, points } from './event.ts'
import { conditionCharactersMax } from './phase.ts'

/**
 * A condition of a schedule: a boolean CEL expression over the state of a life. Every number in it
 * is an integer. It has no loops and no slow calls (no macros, no regular expressions), so
 * evaluation visits each of its few nodes at most once. It reads a copy and can change nothing.
 */
export interface Condition {
  readonly text: string
  /** The expression uses `life.cpu`, which not every wall reports for every zone. */
  readonly readsCpu: boolean
  /** Texts that `life.phase` is compared with. */
  readonly phases: readonly string[]
  /** Throws when evaluation fails: unknown values, overflow, division by zero. */
  holds(view: LifeView): boolean
}

/** Variables that a condition can read. Times are milliseconds. */
export interface LifeView {
  /** `cpu` is undefined if the wall does not report it; reading it is then an error. */
  readonly life: {
    readonly age: number
    readonly phase: string
    readonly phaseAge: number
    readonly cpu: number | undefined
  }
  /** Count of events by point; a missing point counts 0. */
  readonly events: Readonly<Partial<Record<Point, number>>>
  readonly anomaly: { readonly last: 'none' | 'low' | 'medium' | 'high'; readonly count: number }
  readonly output: { readonly bytes: number }
  /** Capability calls, granted or not. */
  readonly calls: number
}

const nodesMax = 128
const depthMax = 16
const elementsMax = 32

/** Functions a condition may call: none loops over more than a short text. */
const callable = new Set(['size', 'startsWith', 'endsWith', 'contains', 'double', 'int', 'string'])

/** Parses a condition. Throws RangeError with the expected form for invalid text. */
export function readCondition(text: string): Condition {
  if (text.length > conditionCharactersMax)
    throw new RangeError(`expected at most ${conditionCharactersMax} characters`)
  const parsed = parse(text)
  mustBeBounded(parsed.ast)
  const { valid, type, error } = parsed.check()
  if (!valid) throw new RangeError(`expected a condition in CEL: ${firstLine(error)}`)
  if (type !== 'bool') throw new RangeError(`expected true or false, not a value of type "${type}"`)
  const { ast } = parsed
  const facts = { readsCpu: readsCpu(ast), phases: phasesIn(ast) }
  return { text, ...facts, holds: (view) => answerOf(parsed, view) }
}

/** Zero for every point, so that a condition may name any of them. */
const noEvents = points.map((point) => [point, 0n] as const)

type Cel = typeof import('@marcbachmann/cel-js')

let environment: Environment | undefined

/** Loads CEL lazily: most runs have no condition, and loading it takes as long as all other schemas. */
function openEnvironment(): Environment {
  const { Environment } = createRequire(import.meta.url)('@marcbachmann/cel-js') as Cel
  return new Environment({
    limits: {
      maxAstNodes: nodesMax,
      maxDepth: depthMax,
      maxListElements: elementsMax,
      maxMapEntries: 1,
      maxCallArguments: 2,
    },
  })
    .registerVariable({
      name: 'life',
      schema: { age: 'int', phase: 'string', phaseAge: 'int', cpu: 'int' },
    })
    .registerVariable('events', 'map<string, int>')
    .registerVariable({ name: 'anomaly', schema: { last: 'string', count: 'int' } })
    .registerVariable({ name: 'output', schema: { bytes: 'int' } })
    .registerVariable('calls', 'int')
}

function parse(text: string): ParseResult {
  environment ??= openEnvironment()
  try {
    return environment.parse(text)
  } catch (thrown) {
    throw new RangeError(`expected a condition in CEL: ${firstLine(thrown)}`, { cause: thrown })
  }
}

/** Walks the AST: allows only listed calls and existing event points. */
function mustBeBounded(node: ASTNode): void {
  if (node.op === 'call' || node.op === 'rcall') {
    const name = node.args[0]
    if (!callable.has(name)) {
      const known = [...callable].join(', ')
      throw new RangeError(`expected no call of "${name}"; there are ${known}`)
    }
  }
  if (node.op === '[]' && isEvents(node.args[0])) return mustBePoint(node.args[1])
  // A test by `in`, or of a size, has one answer for the whole life: the map has every point.
  if (isEvents(node)) throw new RangeError('expected events["…"] with the name of a point')
  mustCompareSeverity(node)
  for (const inner of innerOf(node.args)) mustBeBounded(inner)
}

function isEvents(node: ASTNode): boolean {
  return node.op === 'id' && node.args === 'events'
}

function mustBePoint(node: ASTNode): void {
  const name = node.op === 'value' ? node.args : undefined
  if (typeof name === 'string' && (lifePoints as ReadonlySet<string>).has(name)) return
  if (typeof name === 'string' && (points as readonly string[]).includes(name))
    throw new RangeError(
      `expected events["…"] with a point that a life reaches while it runs, not "${name}"`,
    )
  const found = typeof name === 'string' ? `, not "${name}"` : ''
  throw new RangeError(`expected events["…"] with the name of a point${found}`)
}

const severities: readonly unknown[] = ['none', ...anomalySeverities]

/**
 * Rejects a comparison of `anomaly.last` with a text that is no severity, which would never be true, and any use but a
 * comparison for equality: texts have another order than severities.
 */
function mustCompareSeverity({ op, args }: ASTNode): void {
  const inner = innerOf(args)
  if (!inner.some(isLastAnomaly)) return
  const others = inner.filter((one) => !isLastAnomaly(one))
  if (op === '==' || op === '!=') others.forEach(mustBeSeverity)
  else if (op === 'in') others.flatMap((list) => innerOf(list.args)).forEach(mustBeSeverity)
  else if (!isLastAnomaly({ op, args } as ASTNode))
    throw new RangeError('expected anomaly.last compared by ==, != or in, as in ["medium", "high"]')
}

function mustBeSeverity(text: ASTNode): void {
  if (text.op !== 'value' || severities.includes(text.args)) return
  const known = severities.join(', ')
  throw new RangeError(`expected anomaly.last as one of ${known}, not "${String(text.args)}"`)
}

const isLastAnomaly = (node: ASTNode): boolean => isField(node, 'anomaly', 'last')

function isField({ op, args }: ASTNode, owner: string, field: string): boolean {
  if (op !== '.' && op !== '[]') return false
  const [of, name] = args as readonly unknown[]
  const text = isNode(name) && name.op === 'value' ? name.args : name
  return isNode(of) && of.op === 'id' && of.args === owner && text === field
}

function phasesIn({ op, args }: ASTNode): readonly string[] {
  const inner = innerOf(args)
  const others = inner.filter((one) => !isField(one, 'life', 'phase'))
  const isCompared = others.length < inner.length && ['==', '!=', 'in'].includes(op)
  const values = op === 'in' ? others.flatMap((list) => innerOf(list.args)) : others
  const texts = values.flatMap((one) => (one.op === 'value' ? [String(one.args)] : []))
  return [...(isCompared ? texts : []), ...inner.flatMap(phasesIn)]
}

function readsCpu(node: ASTNode): boolean {
  if (node.op === 'id') return node.args === 'life.cpu'
  const [of, name] = Array.isArray(node.args) ? (node.args as readonly unknown[]) : []
  const isOfLife = isNode(of) && of.op === 'id' && of.args === 'life'
  const isCpu = name === 'cpu' || (isNode(name) && name.op === 'value' && name.args === 'cpu')
  return (isOfLife && isCpu) || innerOf(node.args).some(readsCpu)
}

function isNode(value: unknown): value is ASTNode {
  return typeof value === 'object' && value !== null && 'op' in value
}

/** Child nodes; each operator stores them in its own shape. */
function innerOf(args: unknown): readonly ASTNode[] {
  if (Array.isArray(args)) return args.flatMap(innerOf)
  return isNode(args) ? [args] : []
}

function answerOf(parsed: ParseResult, view: LifeView): boolean {
  const answer: unknown = parsed(contextOf(view))
  if (typeof answer === 'boolean') return answer
  throw new TypeError(`expected true or false, not ${typeof answer}`)
}

function contextOf({ life, events, anomaly, output, calls }: LifeView): Record<string, unknown> {
  const counted = Object.entries(events).map(([point, count]) => [point, whole(count)] as const)
  const { age, phase, phaseAge, cpu } = life
  return {
    life: {
      age: whole(age),
      phase,
      phaseAge: whole(phaseAge),
      ...(cpu !== undefined && { cpu: whole(cpu) }),
    },
    events: new Map([...noEvents, ...counted]),
    anomaly: { last: anomaly.last, count: whole(anomaly.count) },
    output: { bytes: whole(output.bytes) },
    calls: whole(calls),
  }
}

const whole = (value: number): bigint => BigInt(Math.floor(value))

function firstLine(thrown: unknown): string {
  return messageOf(thrown).split('\n', 1)[0]!
}
