import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import {
  allControls,
  canonicalControls,
  isWithin,
  type Controls,
} from '../../src/contract/controls.ts'
import type { Point } from '../../src/contract/event.ts'
import type { Phase } from '../../src/contract/phase.ts'
import type { Profile } from '../../src/contract/profile.ts'
import type { GatedOutput, SupervisedRun, Supervisor } from '../../src/contract/pipeline.ts'
import { releaseMsMaxOf } from '../../src/contract/tier.ts'
import { answerMsMax } from '../../src/lives/supervise.ts'
import { wallAnswerMsMax } from '../../src/contract/wall-answer.ts'
import { seeded } from '../../src/tiers/mock/seeded.ts'
import type { Faults, ScriptStep } from '../../src/tiers/mock/script.ts'
import {
  limitsOf,
  phasesOf,
  profileOf,
  scheduleOf,
  stage,
  taskOf,
  type Said,
} from './simulated-life.ts'

const lives = 10_000

test('Ten thousand lives with hostile guests and broken walls each end once, in time, without leaks', async () => {
  const given = process.env['MAYFLY_SEED']
  const base = given ? Number(given) : randomInt(2 ** 31)
  const statuses = new Map<string, number>()
  for (let life = 0; life < (given ? 1 : lives); life++) {
    const status = await liveFrom(base + life)
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
  }
  const all = ['ok', 'error', 'timeout', 'limit', 'terminated', 'failed', 'cancelled', 'refused']
  if (!given) assert.deepEqual([...statuses.keys()].sort(), all.sort(), 'some end never came')
})

test('The same seed gives the same life', async () => {
  for (let seed = 1; seed <= 50; seed++) {
    assert.deepEqual(await live(fateOf(seed)), await live(fateOf(seed)))
  }
})

async function liveFrom(seed: number): Promise<string> {
  const fate = fateOf(seed)
  try {
    const story = await live(fate)
    check(fate, story)
    return story.gated.status
  } catch (cause) {
    throw new Error(`A life went wrong; live it again with MAYFLY_SEED=${seed}`, { cause })
  }
}

type Fault<Name extends keyof Faults> = NonNullable<Faults[Name]>

/** Random parts of a life. */
interface Fate {
  readonly profile: Profile
  readonly steps: readonly ScriptStep[]
  readonly faults: Faults
  readonly cancelAt: number | undefined
  readonly closeAt: number | undefined
  /** Delay of the listener per chunk; Infinity blocks forever. */
  readonly holds: number
  readonly deeds: readonly Deed[]
}

/** External action during a run: by an operator, watcher or zone source. */
type Deed = { readonly at: number; readonly zone: string } & (
  | { readonly do: 'tighten'; readonly to: Controls }
  | { readonly do: 'terminate' | 'zone' | 'gone' }
  | { readonly do: 'anomaly'; readonly severity: string }
)

/** True if anything but time, guest and wall influenced the life. */
const isMeddledWith = ({ deeds, profile: { schedule } }: Fate): boolean =>
  deeds.length > 0 ||
  schedule.clock === 'cpu' ||
  schedule.phases.some(({ advanceIf, terminateIf }) => advanceIf ?? terminateIf)

function fateOf(seed: number): Fate {
  const dice = diceOf(seed)
  const { random, upTo, oneOf, rarely } = dice
  const lengths = Array.from({ length: 1 + upTo(3) }, () => 1 + upTo(400))
  const phases = phasesOf(...lengths)
  const limits = limitsOf({ timeout: 1 + upTo(1200), output: upTo(4096), result: 64 })
  const steps = Array.from({ length: upTo(4) }, () => ({ at: upTo(900), ...middleStep(dice) }))
  if (random() < 0.8) steps.push({ at: upTo(900), ...endStep(dice) })
  const isMeddled = random() < 0.4
  const schedule = drawSchedule(dice, isMeddled ? withConditions(dice, phases) : phases, isMeddled)
  return {
    profile: profileOf({ schedule, limits }),
    deeds: isMeddled ? Array.from({ length: upTo(5) }, () => drawDeed(dice)) : [],
    steps,
    faults: drawFaults(dice),
    cancelAt: rarely(() => upTo(1500)),
    closeAt: random() < 0.03 ? upTo(1500) : undefined,
    holds: rarely(() => oneOf(1, 50, Infinity)) ?? 0,
  }
}

/** Draws from a seeded random sequence. */
function diceOf(seed: number) {
  const random = seeded(seed)
  const upTo = (max: number) => Math.floor(random() * (max + 1))
  const oneOf = <Item>(...items: readonly Item[]) => items[upTo(items.length - 1)]!
  const rarely = <Item>(item: () => Item) => (random() < 0.15 ? item() : undefined)
  return { random, upTo, oneOf, rarely }
}

type Dice = ReturnType<typeof diceOf>

function drawCondition({ upTo, oneOf }: Dice): string {
  return oneOf(
    `life.age > ${upTo(900)}`,
    `life.phaseAge > ${upTo(300)} && calls >= ${upTo(2)}`,
    `output.bytes > ${upTo(9000)}`,
    'anomaly.last == "low" || anomaly.count > 1',
    `life.cpu > ${upTo(600)}`,
    'events["capability/denied"] > 0',
    '1 / calls > 0',
  )
}

function withConditions(dice: Dice, phases: readonly Phase[]): readonly Phase[] {
  return phases.map((phase) => {
    const advanceIf = dice.rarely(() => drawCondition(dice))
    const terminateIf = dice.rarely(() => drawCondition(dice))
    return { ...phase, ...(advanceIf && { advanceIf }), ...(terminateIf && { terminateIf }) }
  })
}

function drawSchedule({ random, upTo, oneOf }: Dice, phases: readonly Phase[], isMeddled: boolean) {
  const base = scheduleOf(random() < 0.3 ? phases.toReversed() : phases, oneOf(0, 0.5, 1))
  const { onAnomaly, shorten } = base
  const own = { phases: phasesOf(1 + upTo(300), 1 + upTo(300)), onAnomaly, shorten }
  const more = {
    ...(random() < 0.3 && { clock: 'cpu' as const }),
    zones: { own: random() < 0.3 ? { ...own, phases: own.phases.toReversed() } : own },
  }
  return { ...base, ...(isMeddled && more) }
}

function drawDeed({ random, upTo, oneOf }: Dice): Deed {
  const zone = () => oneOf('a', 'b', 'c')
  const at = upTo(1200)
  const where = oneOf('main', zone())
  return oneOf<() => Deed>(
    () => ({ at, zone: where, do: 'tighten', to: oneOf(...phasesOf(1, 1, 1, 1)).controls }),
    () => ({ at, zone: where, do: 'tighten', to: { ...allControls, cpu: upTo(4) } }),
    () => ({
      at,
      zone: where,
      do: 'anomaly',
      severity: oneOf('low', 'low', 'medium', 'high', '?'),
    }),
    () => ({ at, zone: random() < 0.2 ? 'main' : zone(), do: 'terminate' }),
    () => ({ at: upTo(300), zone: zone(), do: 'zone' }),
    () => ({ at, zone: zone(), do: 'gone' }),
  )()
}

function endStep({ upTo, oneOf }: Dice): ScriptStep {
  return oneOf<ScriptStep>(
    { result: upTo(99) },
    { result: { value: new Map([[1, 2n]]) } },
    { resultText: `"${'x'.repeat(100)}"`, encoding: 'json' },
    { resultText: '{"__proto__":1}', encoding: 'json' },
    { error: { code: 'ERROR', message: 'thrown' } },
    { limit: 'CPU' },
    { memory: 2 ** 40 },
    { crash: 'the worker died' },
  )
}

function middleStep({ upTo, oneOf }: Dice): ScriptStep {
  return oneOf<ScriptStep>(
    { stdout: 'line\n' },
    { stderr: Uint8Array.of(0xff, 0xf0, 0x9f) },
    { spam: upTo(150_000) },
    { cpu: upTo(900) },
    { memory: 1 },
    { call: { name: 'ccos.clock', argsText: '[]' } },
    { artifact: { path: oneOf('a', 'b', '../c'), bytes: new Uint8Array(upTo(9)) } },
  )
}

function drawFaults({ random, oneOf, rarely }: Dice): Faults {
  return {
    release: rarely(() => oneOf<Fault<'release'>>(5, 500, 11_000, 'never')) ?? 0,
    kill: rarely(() => oneOf<Fault<'kill'>>(1, 1500, 3000, 'never', 'ok')) ?? 0,
    tighten:
      rarely(() => oneOf<Fault<'tighten'>>(1, 900, 1100, 'never', 'throws', ['network'])) ?? 0,
    ...(random() < 0.1 && { endZone: oneOf('never', 'throws') }),
  }
}

interface Story {
  readonly supervised: SupervisedRun
  readonly gated: GatedOutput
  readonly ends: number
  readonly disposed: number
  readonly held: readonly Controls[]
  /** Controls of each zone in order, starting with those of `main` at its begin. */
  readonly zones: ReadonlyMap<string, readonly Controls[]>
  /** Controls at the release of user code. */
  readonly first: Controls | undefined
  readonly said: readonly Said[]
  /** Timers of supervisor and wall after both were disposed. */
  readonly left: number
  readonly endedAt: number
}

/** Minimal job pipeline: owned sandbox and supervisor, gate, end. */
async function live({
  profile,
  steps,
  faults,
  cancelAt,
  closeAt,
  holds,
  deeds,
}: Fate): Promise<Story> {
  const set = await stage({ script: () => steps, faults }, profile)
  const { clock, supervisor, sandbox, canceller, gate, io, said } = set
  const held: Controls[] = [canonicalControls(profile.controls)]
  let [ends, disposed, endedAt, ours] = [0, 0, 0, 0]
  let first: Controls | undefined
  const tighten = sandbox.tighten.bind(sandbox)
  const dispose = sandbox[Symbol.asyncDispose].bind(sandbox)
  const zones = new Map<string, Controls[]>()
  Object.assign(sandbox, {
    tighten: (to: Controls, zone?: string) => {
      if (zone === undefined) held.push(to)
      else zones.set(zone, [...(zones.get(zone) ?? [held.at(-1)!]), to])
      return tighten(to, zone)
    },
    [Symbol.asyncDispose]: () => ((disposed += 1), dispose()),
  })
  const after = (ms: number, then: () => void) => {
    ours += 1
    clock.after(ms, () => {
      ours -= 1
      then()
    })
  }
  const hold = () =>
    holds > 0
      ? new Promise<void>((resolve) => holds < Infinity && after(holds, resolve))
      : undefined
  const listening = {
    ...io,
    stdout: (chunk: Uint8Array) => gate.stdout(chunk) ?? hold(),
    released: () => void (first = held.at(-1)),
  }
  if (cancelAt !== undefined) after(cancelAt, () => canceller.abort())
  if (closeAt !== undefined) after(closeAt, () => void supervisor[Symbol.asyncDispose]())

  for (const deed of deeds) after(deed.at, () => carryOut(deed, supervisor))

  const road = async () => {
    await using wall = sandbox
    await using watch = supervisor
    const supervised = await watch.run(taskOf({ run: wall.id }), listening)
    ends += 1
    endedAt = clock.now()
    return { supervised, gated: gate.close(supervised.end) }
  }
  const walked = road().then((outcome) => ({ ...outcome, left: clock.pending - ours }))
  await clock.run()
  assert.equal(ends, 1, 'the life did not end')
  const outcome = await walked
  return { ...outcome, ends, disposed, held, zones, first, said, endedAt }
}

function carryOut(deed: Deed, supervisor: Supervisor): void {
  const { zone } = deed
  const by = { actor: 'operator', reason: 'a deed', zone }
  try {
    if (deed.do === 'tighten') supervisor.tighten(deed.to, by).catch(isUnknown)
    if (deed.do === 'terminate') supervisor.terminate(by)
    if (deed.do === 'zone') supervisor.zone(zone, zone === 'a' ? 'none' : 'own')
    if (deed.do === 'gone') supervisor.gone(zone)
    if (deed.do === 'anomaly')
      supervisor.notice({ point: 'anomaly/found', zone, fields: { severity: deed.severity } })
  } catch (thrown) {
    isUnknown(thrown)
  }
}

/** Accepts only the error for an unknown zone. */
function isUnknown(thrown: unknown): void {
  assert.equal((thrown as { code?: string }).code, 'NOT_FOUND')
}

function check(fate: Fate, story: Story): void {
  const { supervised, gated, held } = story
  const { end, executionTime, timeline } = supervised
  const { limits, schedule } = fate.profile
  const lifeMs = Math.min(
    limits.timeout,
    schedule.phases.reduce((sum, phase) => sum + phase.for, 0),
  )

  assert.equal(story.disposed, 1)
  assert.equal(story.left, 0)
  assert(executionTime <= lifeMs + answerMsMax, `it ran for ${executionTime} of ${lifeMs} ms`)
  assert(story.endedAt <= wallAnswerMsMax + releaseMsMaxOf('mock') + lifeMs + answerMsMax)
  for (const told of [held, ...story.zones.values()])
    told.forEach((controls, place) => assert(place === 0 || isWithin(controls, told[place - 1]!)))

  if (story.first) assert(isWithin(story.first, schedule.phases[0]!.controls))

  const count = (...points: readonly Point[]) =>
    story.said.filter(({ point }) => points.includes(point)).length
  assert.equal(count('phase/opened'), count('phase/closed', 'phase/terminated'))
  const ofWhole = timeline.filter(({ zone }) => zone === 'main')
  const words = ofWhole.map(({ event }) => event)
  const wasCut = !['ok', 'error'].includes(end.status)
  assert(timeline.length === 0 || timeline[0]!.event === 'phase')
  assert(timeline.length > 0 || executionTime === 0)
  assert.equal(words.indexOf('terminated'), wasCut && timeline.length > 0 ? words.length - 1 : -1)
  timeline.forEach(({ at }, place) => assert(place === 0 || at >= timeline[place - 1]!.at))

  assert(couldBe[end.status](fate, supervised, lifeMs), `nothing made it ${end.status}`)
  assert(gated.status === end.status || gated.status === 'refused')
  assert.equal('error' in gated, gated.status !== 'ok')
  assert(gated.status === 'ok' || gated.result === null)
  assert(Buffer.byteLength(gated.stdout.replaceAll('\ufffd', '?')) <= limits.output)
}

const has = (fate: Fate, ...words: readonly string[]) =>
  fate.steps.some((step) => words.some((word) => word in step))

/** Condition under which each end is legitimate. */
const couldBe: Record<
  SupervisedRun['end']['status'],
  (fate: Fate, supervised: SupervisedRun, lifeMs: number) => boolean
> = {
  ok: (fate, { executionTime }, lifeMs) =>
    has(fate, 'result', 'resultText') && executionTime <= lifeMs,
  error: (fate, { executionTime }, lifeMs) => has(fate, 'error') && executionTime <= lifeMs,
  timeout: (fate, { executionTime }, lifeMs) =>
    executionTime >= lifeMs || (fate.faults.tighten ?? 0) !== 0 || isMeddledWith(fate),
  limit: (fate) => has(fate, 'limit', 'memory'),
  cancelled: (fate) => fate.cancelAt !== undefined,
  terminated: (fate) =>
    fate.closeAt !== undefined || (fate.faults.tighten ?? 0) !== 0 || isMeddledWith(fate),
  // Only walls with zones end this way.
  unavailable: () => false,
  failed: (fate) =>
    has(fate, 'crash', 'call') ||
    [3000, 'never'].includes(fate.faults.kill ?? 0) ||
    [11_000, 'never'].includes(fate.faults.release ?? 0) ||
    fate.faults.tighten !== 0,
}
