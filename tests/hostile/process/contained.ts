import { setTimeout as sleep } from 'node:timers/promises'
import type { Outcome } from '../../../src/contract/outcome.ts'
import { escapedWord, type End } from '../case.ts'
import { timeoutMs } from './bounds.ts'
import { inParallel } from '../sample.ts'
import type { ProcessBait, ProcessCase } from './case.ts'
import { measure } from './measure.ts'
import { survivorOf, sweep, type ProcessTrap } from './trap.ts'
import { runOn, type Given, type Ran, type WallName, type Walls } from './walls.ts'

/** Ends of a contained program. A failed wall or server is none, unless a case says so. */
/** Includes an end by Mayfly's own detectors, not chosen by the author either. */
const ends: readonly End[] = [
  'ok',
  'error',
  'limit',
  'timeout',
  'terminated',
  'refused',
  'rejected',
]
/**
 * Contained, but late: an unexpected end, or memory noticed late by polling. Retried against a stall of the
 * machine. Never an escape.
 */
const late = /^(?:second )?ended |^it did not end |^memory: /
/** Without control groups processes are counted by polling too. */
const polled = /^\d+ processes$/
const triesMax = 3
const artifactsMax = 1_000
const artifactBytesMax = 16 * 2 ** 20
const streamCharsMax = 2 ** 20
const resultCharsMax = 4 * 2 ** 20
const goneTriesMax = 100
const textShown = 200

export interface Field {
  readonly walls: Walls
  readonly wall: WallName
  readonly trap: ProcessTrap
  /**
   * Only evidence seen by the host counts: the kernel's answers to a program prove nothing without a filter.
   */
  readonly onlySeen?: boolean
  /** An emulated machine: a second try has five times the time, a third 25 times. */
  readonly isSlow?: boolean
}

const slowFactor = 5
const atATime = 3

/** Cases that a wall did not contain, each with the reason. Measured ones run alone, to attribute the usage. */
export async function uncontained(
  field: Field,
  cases: readonly ProcessCase[],
): Promise<readonly string[]> {
  const found: string[] = []
  const tryOne = async (hostile: ProcessCase): Promise<void> => {
    const why = await whyNotContained(field, hostile)
    if (why) found.push(`${hostile.name}: ${why}`)
  }
  const isMeasured = ({ over, quick }: ProcessCase): boolean => Boolean(over ?? quick)
  await inParallel(
    cases.filter((one) => !isMeasured(one)),
    atATime,
    tryOne,
  )
  for (const hostile of cases.filter(isMeasured)) await tryOne(hostile)
  return found
}

/** Reason why a wall did not contain a case; undefined if it did. */
export async function whyNotContained(
  field: Field,
  hostile: ProcessCase,
): Promise<string | undefined> {
  let why = await tryOut(field, hostile, timeoutMs)
  const isLate = () => late.test(why ?? '') || (!field.walls.areCounted && polled.test(why ?? ''))
  for (let tries = 1; tries < triesMax && isLate(); tries++)
    why = await tryOut(field, hostile, timeoutMs * (field.isSlow ? slowFactor ** tries : 1))
  return why
}

async function tryOut(
  field: Field,
  hostile: ProcessCase,
  timeout: number,
): Promise<string | undefined> {
  await using snare = field.trap.lay()
  const { bait } = snare
  const evidence = (text: string) => snare.evidence(heard(field, hostile, text))
  const seen = hostile.over ? measure() : undefined
  try {
    const given = { body: hostile.code, bait, timeout }
    const first = await runOn(field.walls, field.wall, hostile, given)
    const why =
      evidence(first.text) ??
      seen?.over(hostile, field.wall) ??
      wrong(field.wall, hostile, first, timeout)
    return why ?? (await survived(bait)) ?? (await knows(field, hostile, given, evidence))
  } finally {
    seen?.stop()
    sweep(bait)
  }
}

/** An engine of another user has no control group that counts. */
function heard({ onlySeen, walls, wall }: Field, { counted }: ProcessCase, text: string): string {
  const isCounted = walls.areCounted && wall !== 'podman'
  return onlySeen || (counted && !isCounted) ? text.replaceAll(escapedWord, '') : text
}

/** Findings of the second of two jobs. */
async function knows(
  { walls, wall }: Field,
  hostile: ProcessCase,
  { bait, timeout }: Given,
  evidence: (cameBack: string) => string | undefined,
): Promise<string | undefined> {
  if (!hostile.second) return undefined
  const stranger = { body: hostile.second, bait: { ...bait, secret: '' }, timeout }
  const { end, text } = await runOn(walls, wall, hostile, stranger)
  if (text.includes(bait.secret)) return 'the second job knows the first'
  return (
    evidence(text) ??
    (ends.includes(end) ? undefined : `second ended ${end}: ${text.slice(0, textShown)}`)
  )
}

function wrong(
  wall: WallName,
  hostile: ProcessCase,
  ran: Ran,
  timeout: number,
): string | undefined {
  const { end, outcome, text } = ran
  if (!(hostile.expect ?? ends).includes(end)) return `ended ${end}: ${text.slice(0, textShown)}`
  if (!outcome) return undefined
  if (outcome.provider !== wall) return `it ran on ${outcome.provider ?? 'nothing'}`
  return tooLong(hostile, outcome, timeout) ?? unfit(outcome) ?? otherResult(hostile, outcome)
}

function tooLong(
  { quick }: ProcessCase,
  { status, metrics }: Outcome,
  timeout: number,
): string | undefined {
  const isLate = status === 'timeout' || metrics.executionTime > timeout * 0.9
  return quick && isLate ? `it did not end by itself: ${metrics.executionTime} ms` : undefined
}

/** Content that no outcome may hold, and its effects on this process, which is the server. */
function unfit({ artifacts, stdout, stderr, result, metrics }: Outcome): string | undefined {
  if ('polluted' in Object.prototype) return 'its result changed a prototype of the server'
  const strange = artifacts.find(({ path }) => isStrange(path))
  if (strange) return `an artifact is called ${JSON.stringify(strange.path)}`
  if (artifacts.length > artifactsMax) return `${artifacts.length} artifacts`
  const bytes = artifacts.reduce((sum, { size }) => sum + size, 0)
  if (bytes > artifactBytesMax) return `${bytes} bytes of artifacts`
  const { cpuTime, executionTime, startTime, queueTime } = metrics
  if ([cpuTime, executionTime, startTime, queueTime].some((ms) => !(ms >= 0 && ms < 600_000)))
    return `it forged its times: ${JSON.stringify(metrics)}`
  const resultChars = JSON.stringify(result)?.length ?? 0
  if (resultChars > resultCharsMax) return `a result of ${resultChars} characters`
  const chars = Math.max(stdout.length, stderr.length)
  return chars > streamCharsMax ? `${chars} characters of output` : undefined
}

function isStrange(name: string): boolean {
  return (
    name.startsWith('/') ||
    name.includes('\0') ||
    name.split('/').some((part) => part === '' || part === '.' || part === '..')
  )
}

function otherResult({ gives }: ProcessCase, { status, result }: Outcome): string | undefined {
  if (gives === undefined || status !== 'ok') return undefined
  const gave = JSON.stringify(result)
  return gave === JSON.stringify(gives) ? undefined : `it gave ${gave}`
}

/** A wall is destroyed after its outcome is delivered, so poll. */
async function survived(bait: ProcessBait): Promise<string | undefined> {
  for (let tries = 0; tries < goneTriesMax && survivorOf(bait); tries++) await sleep(50)
  return survivorOf(bait)
}
