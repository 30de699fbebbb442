import type { Clock } from './contract/clock.ts'
import { allControls, meet, type Control, type Controls } from './contract/controls.ts'
import { messageOf } from './contract/error.ts'
import type { Plan, Supervisor } from './contract/pipeline.ts'
import type { FieldReason, Profile } from './contract/profile.ts'
import type { Enforced } from './contract/provider.ts'
import { orderMsMaxOf } from './contract/tier.ts'
import type { Verdict } from './contract/verdict.ts'
import { wallAnswer } from './contract/wall-answer.ts'
import { present } from './lib/present.ts'

/** Limits of each exec; all others apply to the whole sandbox. */
export const ownLimits = ['timeout', 'cpuTime', 'output', 'result', 'artifacts'] as const

/** The profile of the sandbox with the limits, output contract and entry of an exec. */
export function execProfile(profile: Profile, asked: Profile): Profile {
  const isOwn = (field: string) => ownLimits.some((name) => field === `limits.${name}`)
  const { timeout, cpuTime, output, result, artifacts } = asked.limits
  const { cpuTime: _ofSession, ...held } = profile.limits
  return {
    ...profile,
    entry: asked.entry,
    output: asked.output,
    limits: { ...held, timeout, output, result, artifacts, ...present({ cpuTime }) },
    explain: [
      ...profile.explain.filter(({ field }) => !isOwn(field)),
      ...asked.explain.filter(({ field }) => isOwn(field)),
    ],
  }
}

/** Profiles of a session if it were opened now: as it was, and for the code of an exec. */
export interface Reopened {
  readonly plain: Pick<Profile, 'controls' | 'schedule'>
  readonly own: Pick<Profile, 'controls' | 'schedule'>
}

/** Phase with which the code of an exec begins, if its session is in an earlier one. */
export function laterBegin(
  { plain, own }: Reopened,
  { schedule }: Pick<Profile, 'schedule'>,
  now: string,
): string | undefined {
  const [begins, usual] = [own.schedule.phases[0]!.name, plain.schedule.phases[0]!.name]
  const names = schedule.phases.map(({ name }) => name)
  return begins !== usual && names.indexOf(begins) > names.indexOf(now) ? begins : undefined
}

/** Amounts that a session may lose by the risk of its code. Memory stays: its holder has it, and a lower limit would end the session. */
const amounts = ['cpu', 'processes', 'io'] as const
type Amount = (typeof amounts)[number]

/** Controls with the amounts that the risk of an exec leaves to its session; undefined if it has no more. */
export function restrainedTo(
  { plain, own }: Reopened,
  now: Controls,
  tightens: readonly Control[],
): Controls | undefined {
  const less = amounts.filter((name) => {
    const value = own.controls[name]
    return value < plain.controls[name] && value < now[name] && tightens.includes(name)
  })
  if (less.length === 0) return undefined
  return { ...allControls, ...Object.fromEntries(less.map((name) => [name, own.controls[name]])) }
}

/** Description that ends the finding of code whose analysis did not end. */
const notEnded = ': the analysis did not end'

/** False where the risk is that of an analysis that did not end: it says nothing about the code. */
export function isAnalysed({ findings }: Pick<Verdict, 'findings'>): boolean {
  const isUnread = findings.some(
    ({ name, description }) => name === 'UNPARSED' && description.endsWith(notEnded),
  )
  return !isUnread || findings.some(({ name, kind }) => kind === 'threat' && name !== 'UNPARSED')
}

/** Amounts that a session has lost, with the risk of the exec that each was taken for. */
export type Taken = {
  readonly [name in Amount]?: { readonly value: number; readonly risk: number }
}

/** Profile of a session without what was taken from it; each lower field says so. */
export function profileWithout(profile: Profile, taken: Taken): Profile {
  const less = amounts.filter((name) => (taken[name]?.value ?? Infinity) < profile.controls[name])
  const values = Object.fromEntries(less.map((name) => [name, taken[name]!.value]))
  const { io: _io, ...limits } = values
  const lowered = new Map<string, NonNullable<Taken[Amount]>>(
    less.flatMap((name) =>
      [`controls.${name}`, `limits.${name}`].map((field) => [field, taken[name]!]),
    ),
  )
  const explain = profile.explain.map((row): FieldReason => {
    const one = lowered.get(row.field)
    if (!one) return row
    const because = `${row.because}, then the restraint of an exec (risk ${one.risk})`
    return { ...row, value: one.value, because }
  })
  return {
    ...profile,
    controls: { ...profile.controls, ...values },
    limits: { ...profile.limits, ...limits },
    explain,
  }
}

/** Time in which a wall of processes has to hold a restraint, in milliseconds: a busy host needs more than two seconds. */
const heldMsMax = 5000

const wayOut = 'Run it as a job, or open a session for it'

export interface RestraintParts {
  /** Session as it was opened. */
  readonly profile: Profile
  readonly life: Pick<Supervisor, 'rest' | 'tighten'>
  readonly wall: RestrainedWall
  readonly clock: Clock
}

export interface RestrainedWall {
  /** Controls that it can tighten while it runs. */
  readonly tightens: readonly Control[]
  isFrozen(): boolean
  tighten(to: Controls): Promise<Enforced>
}

/** Refusal of an exec whose session keeps more than its risk allows. */
export type RestraintRefusal = Omit<Exclude<Plan, { readonly kind: 'run' }>, 'profile'>

/**
 * Restraint of a session by the risk of its code.
 *
 * Problem: an order of a life that its wall refuses, or is late with, ends the phase, which is mostly the whole session.
 *
 * Mechanism: the wall is ordered first, and the life once that holds, which leaves its own order nothing to do. Orders go one after
 * another: one that is late is not given again, and what it takes counts when it holds.
 *
 * A frozen wall is not ordered: a machine does not answer then, and its guest would lower the amounts of a refused exec at its thaw.
 *
 * Not handled: a machine that is frozen within an order, or whose guest is late by itself. It may keep lower amounts than are told.
 */
export class SessionRestraint {
  readonly #parts: RestraintParts
  #order: Promise<unknown> = Promise.resolve()
  #profile: Profile

  constructor(parts: RestraintParts) {
    this.#parts = parts
    this.#profile = parts.profile
  }

  /** Profile without what was taken; the same object until more is. */
  get profile(): Profile {
    return this.#profile
  }

  /**
   * Takes what the risk of this code leaves no session, as its wall would have been made for a job: the code may stay in it beyond its
   * exec. Resolves to a refusal, which leaves the session as it is, if the wall does not hold it. Never rejects.
   */
  async apply(
    { risk }: Pick<Verdict, 'risk'>,
    reopened: Reopened,
  ): Promise<RestraintRefusal | undefined> {
    const { life, wall, profile, clock } = this.#parts
    if (!restrainedTo(reopened, life.rest.controls, wall.tightens)) return undefined
    const order = this.#order.then(() => this.#take(reopened, risk))
    this.#order = order
    try {
      return await wallAnswer(() => order, clock, Math.max(heldMsMax, orderMsMaxOf(profile.tier)))
    } catch {
      const message = `Cannot run this: its wall is late with the restraint of a risk of ${risk}`
      const hint = `Run it again later. ${wayOut}`
      return { kind: 'unavailable', error: { code: 'UNAVAILABLE', message, details: { hint } } }
    }
  }

  async #take(reopened: Reopened, risk: number): Promise<RestraintRefusal | undefined> {
    const { life, wall } = this.#parts
    const now = life.rest.controls
    const to = restrainedTo(reopened, now, wall.tightens)
    if (!to) return undefined
    if (wall.isFrozen()) return frozen(risk)
    const less = amounts.filter((name) => to[name] < now[name])
    try {
      const { controls, unenforced } = await wall.tighten(meet(now, to))
      const open = less.filter((name) => controls[name] > to[name] || unenforced.includes(name))
      const held = less.filter((name) => !open.includes(name))
      const isNoted = held.length === 0 || (await this.#note(held, to, risk))
      if (open.length > 0) return refused(risk, `it cannot lower ${open.join(', ')}`)
      return isNoted ? undefined : refused(risk, 'its phase was ended')
    } catch (thrown) {
      return refused(risk, messageOf(thrown))
    }
  }

  async #note(held: readonly Amount[], to: Controls, risk: number): Promise<boolean> {
    const { life } = this.#parts
    const taken = Object.fromEntries(held.map((name) => [name, { value: to[name], risk }]))
    this.#profile = profileWithout(this.#profile, taken)
    const amountsHeld = Object.fromEntries(held.map((name) => [name, to[name]]))
    const by = { actor: 'restraint', reason: `an exec has a risk of ${risk}` }
    return await life.tighten({ ...allControls, ...amountsHeld }, by)
  }
}

function frozen(risk: number): RestraintRefusal {
  const message = `Cannot run this: its session is frozen, and has to be restrained for a risk of ${risk}`
  const hint = `Thaw it first. ${wayOut}`
  return { kind: 'unavailable', error: { code: 'UNAVAILABLE', message, details: { hint } } }
}

function refused(risk: number, why: string): RestraintRefusal {
  const message = `Cannot run this: its wall does not hold the restraint of a risk of ${risk}: ${why}`
  return { kind: 'blocked', error: { code: 'FORBIDDEN', message, details: { hint: wayOut } } }
}
