import { controlsBeyond, controlNames, type Control, type Controls } from '../contract/controls.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { TimelineListener, Point } from '../contract/event.ts'
import type { Operations, Operator } from '../contract/live.ts'
import type { KeepCapture, SupervisedRun, Supervisor } from '../contract/pipeline.ts'
import { captureMsMax, captureSummary, captureWaitMsMax } from '../contract/capture-summary.ts'
import { createMutex, type Mutex } from '../lib/mutex.ts'
import { OperatedLife, type LifeParts } from './operated-life.ts'
import { mainZone } from '../contract/phase.ts'
import { wallAnswer } from '../contract/wall-answer.ts'

/** Orders that may wait for one life; a termination waits for none. */
export const waitingMax = 8

/** Lives that somebody outside can see and take from. */
export interface Operating {
  readonly operations: Operations
  /** The supervisor whose life can be seen, from the beginning of its run to its end. */
  over(parts: LifeParts, make: (on: TimelineListener) => Supervisor): Supervisor
}

export interface OperateOptions {
  /** Writes down what was done. Throws MayflyError STATE. */
  readonly tell: (
    point: Point,
    fields: Readonly<Record<string, unknown>>,
    about: { readonly run: string; readonly tenant: string; readonly actor: string },
  ) => void
  /** Keeps what a capture comes to. Throws MayflyError STATE. */
  readonly keep?: KeepCapture
  /** Where captures of this process wait for each other. */
  readonly mutex?: Mutex
}

interface Known {
  readonly life: OperatedLife
  readonly ended: Promise<SupervisedRun>
  readonly orders: Turns
  /** A copy takes long and waits for others: what takes away does not wait for one. */
  readonly captures: Turns
}

/** The orders before the next one, and how many. */
interface Turns {
  last: Promise<unknown>
  waiting: number
}

/**
 * What an operator can do to a life. Everything here takes away, or stops and goes on; there is no order that gives.
 * What takes away is done first and written down then: a disk that is full keeps nobody from ending what runs.
 */
export function createOperating({ tell, keep, mutex = createMutex() }: OperateOptions): Operating {
  const lives = new Map<string, Known>()

  /** Of another tenant, over, or never there: one and the same. */
  function known(id: string, { tenant }: Operator): Known {
    const found = lives.get(id)
    if (found && (tenant === undefined || found.life.parts.profile.tenant === tenant)) return found
    throw new MayflyError('NOT_FOUND', 'Cannot find this sandbox')
  }

  /** One order after the other, and a bounded number of them. */
  async function inTurn<T>(
    id: string,
    by: Operator,
    which: 'orders' | 'captures',
    work: (life: OperatedLife) => Promise<T>,
  ): Promise<T> {
    const turns = known(id, by)[which]
    if (turns.waiting >= waitingMax)
      throw new MayflyError('RATE_LIMITED', 'Cannot take another order for this sandbox now', {
        retryAfterMs: 1000,
      })
    turns.waiting += 1
    const turn = turns.last.then(async () => {
      const { life } = known(id, by)
      life.mustGoOn()
      return await work(life)
    })
    turns.last = turn.catch(() => undefined)
    try {
      return await turn
    } finally {
      turns.waiting -= 1
    }
  }

  function told(point: Point, fields: Record<string, unknown>, life: OperatedLife, by: Operator) {
    const { run, parts } = life
    tell(point, fields, { run, tenant: parts.profile.tenant, actor: by.principal })
  }

  async function tighten(
    life: OperatedLife,
    { controls, zone = mainZone }: Parameters<Operations['tighten']>[1],
    by: Operator,
  ) {
    const to = within(life, controls, zone)
    const order = { actor: 'operator', reason: 'tightened by hand', zone }
    const { took, value: held } = await timed(life, () => life.supervisor.tighten(to, order))
    told('operator/tightened', { controls: Object.keys(controls), zone, held }, life, by)
    return { id: life.run, zone, held, took, controls: life.controlsOf(zone) }
  }

  async function freeze(life: OperatedLife, by: Operator) {
    life.mustHaveBegun()
    must(life, 'freeze')
    const { sandbox, clock } = life.parts
    const { took } = await timed(life, () =>
      wallAnswer(() => sandbox.freeze(), clock).catch((thrown: unknown) => unfrozen(life, thrown)),
    )
    life.note({ event: 'frozen', took, reason: 'operator' })
    told('operator/frozen', { took }, life, by)
    return { id: life.run, frozen: true, took }
  }

  async function thaw(life: OperatedLife, by: Operator) {
    life.mustHaveBegun()
    must(life, 'freeze')
    const { sandbox, clock } = life.parts
    const { took } = await timed(life, () => wallAnswer(() => sandbox.thaw(), clock))
    life.note({ event: 'thawed', took, reason: 'operator' })
    told('operator/thawed', { took }, life, by)
    return { id: life.run, frozen: false, took }
  }

  async function capture(life: OperatedLife, by: Operator) {
    life.mustHaveBegun()
    const { sandbox, profile, clock } = life.parts
    const leave = new AbortController()
    const wait = clock.after(captureWaitMsMax, () => leave.abort(othersAreCaptured(life)))
    const { took, value: fields } = await timed(life, () =>
      mutex(async () => {
        wait.cancel()
        life.mustGoOn()
        // Whoever waits behind it waits for an answer, or for none.
        const asked = wallAnswer(() => sandbox.capture(), clock, captureMsMax)
        const value = await asked.catch((thrown: unknown) => uncaptured(life, thrown))
        const of = { run: life.run, tenant: profile.tenant, because: 'operator' } as const
        return captureSummary(value, await keep?.(of, value))
      }, leave.signal),
    )
    const { kind, why, parts = [] } = fields
    life.note({ event: 'captured', took, reason: 'operator', fields })
    told('operator/captured', fields, life, by)
    return { id: life.run, kind, ...(why !== undefined && { why }), parts, took }
  }

  const operations: Operations = {
    list: ({ tenant }) =>
      [...lives.values()]
        .map(({ life }) => life.row)
        .filter((row) => tenant === undefined || row.tenant === tenant)
        .toReversed(),
    find: (id, by) => known(id, by).life.whole,
    async tighten(id, asked, by) {
      return await inTurn(id, by, 'orders', (life) => tighten(life, asked, by))
    },
    async freeze(id, by) {
      return await inTurn(id, by, 'orders', (life) => freeze(life, by))
    },
    async thaw(id, by) {
      return await inTurn(id, by, 'orders', (life) => thaw(life, by))
    },
    async capture(id, by) {
      return await inTurn(id, by, 'captures', (life) => capture(life, by))
    },
    async endZone(id, zone, by) {
      if (zone === mainZone) {
        const { took } = await operations.terminate(id, by)
        return { id, zone, took }
      }
      const { life } = known(id, by)
      const order = { actor: 'operator', reason: 'ended by hand', zone }
      const { took } = await timed(life, async () => life.supervisor.terminate(order))
      told('operator/terminated', { zone }, life, by)
      return { id, zone, took }
    },
    async terminate(id, by) {
      const { life, ended } = known(id, by)
      const { took, value } = await timed(life, () => {
        life.supervisor.terminate({ actor: 'operator', reason: 'terminated by hand' })
        return ended
      })
      const { status } = value.end
      told('operator/terminated', { status }, life, by)
      return { id, status, took }
    },
  }

  return {
    operations,
    over(parts, make) {
      const life = new OperatedLife(parts)
      const supervisor = life.lead(make)
      return {
        async run(task, io) {
          life.run = task.run
          const ended = supervisor.run(task, io)
          lives.set(task.run, { life, ended, orders: turns(), captures: turns() })
          try {
            const lived = await ended
            return { ...lived, timeline: life.withOwn(lived.timeline) }
          } finally {
            lives.delete(task.run)
          }
        },
        tighten: (to, by) => supervisor.tighten(to, by),
        terminate: (by) => supervisor.terminate(by),
        zone: (zone, kind, about) => supervisor.zone(zone, kind, about),
        gone: (zone) => supervisor.gone(zone),
        notice: (event) => supervisor.notice(event),
        get isOver() {
          return supervisor.isOver
        },
        [Symbol.asyncDispose]: () => supervisor[Symbol.asyncDispose](),
      }
    },
  }
}

const turns = (): Turns => ({ last: Promise.resolve(), waiting: 0 })

function othersAreCaptured({ run }: OperatedLife): MayflyError {
  const why = `${captureWaitMsMax / 1000} s went by while others were captured`
  return new MayflyError('UNAVAILABLE', `Cannot capture "${run}" now: ${why}`, {
    retryAfterMs: captureWaitMsMax,
  })
}

/** All of what is then in force. Throws MayflyError CONFLICT for what would loosen, or what the wall cannot close. */
function within(life: OperatedLife, controls: Partial<Controls>, zone: string): Controls {
  const now = life.controlsOf(zone)
  const to = { ...now, ...controls }
  const looser = controlsBeyond(to, now)
  if (looser.length > 0) throw refused(`it would loosen ${looser.join(', ')}`, { looser }, now)
  const { tightens } = life.parts.can
  const closing = controlsBeyond(now, to)
  const unable = closing.filter((name) => !tightens.includes(name))
  if (unable.length === 0) return to
  throw refused(`its wall cannot close ${unable.join(', ')} while it runs`, { unable }, now)
}

function refused(
  why: string,
  which: Readonly<Record<string, readonly Control[]>>,
  controls: Controls,
): MayflyError {
  const names = controlNames.filter((name) => Object.values(which).flat().includes(name))
  const inForce = Object.fromEntries(names.map((name) => [name, controls[name]]))
  return new MayflyError('CONFLICT', `Cannot tighten it: ${why}`, {
    details: { ...which, inForce },
  })
}

function must({ run, parts }: OperatedLife, ability: 'freeze'): void {
  if (parts.can.can.includes(ability)) return
  const message = `Cannot ${ability} "${run}": its wall, "${parts.sandbox.provider}", is not able to`
  throw new MayflyError('CONFLICT', message, { details: { can: parts.can.can } })
}

/** A wall that may stand still or not is one that nobody holds: it is ended, as it is for an anomaly. */
function unfrozen(life: OperatedLife, thrown: unknown): never {
  const reason = `it could not be frozen: ${messageOf(thrown)}`
  life.supervisor.terminate({ actor: 'operator', reason })
  throw new MayflyError('UNAVAILABLE', `Cannot freeze "${life.run}", so it was ended`, {
    detail: messageOf(thrown),
  })
}

function uncaptured(life: OperatedLife, thrown: unknown): never {
  if (thrown instanceof MayflyError) throw thrown
  throw new MayflyError('UNAVAILABLE', `Cannot capture "${life.run}": ${messageOf(thrown)}`)
}

async function timed<T>(
  { parts }: OperatedLife,
  work: () => Promise<T>,
): Promise<{ readonly took: number; readonly value: T }> {
  const began = parts.clock.now()
  const value = await work()
  return { took: parts.clock.now() - began, value }
}
