import { controlsBeyond, controlNames, type Control, type Controls } from '../contract/controls.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Point } from '../contract/event.ts'
import type { Operations, Operator } from '../contract/live.ts'
import type { KeepCapture, LifeObserver, SupervisedRun } from '../contract/pipeline.ts'
import { captureMsMax, captureSummary, captureWaitMsMax } from '../contract/capture-summary.ts'
import { createMutex, type Mutex } from '../lib/mutex.ts'
import { OperatedLife, type LifeParts } from './operated-life.ts'
import { mainZone } from '../contract/phase.ts'
import { wallAnswer } from '../contract/wall-answer.ts'

/** Limit of queued orders per life; terminate bypasses the queue. */
export const waitingMax = 8

/** Operators' view of and orders to live sandboxes. */
export interface LiveOperations {
  readonly operations: Operations
  /** Makes an observer that registers a life for the duration of its run. */
  observe(parts: LifeParts): LifeObserver
}

export interface LiveOperationsOptions {
  /** Records an operation. Throws MayflyError STATE. */
  readonly writeRecord: (
    point: Point,
    fields: Readonly<Record<string, unknown>>,
    about: { readonly run: string; readonly tenant: string; readonly actor: string },
  ) => void
  /** Stores a capture. Throws MayflyError STATE. */
  readonly keep?: KeepCapture
  /** Serialises the captures of this process. */
  readonly mutex?: Mutex
}

interface RegisteredLife {
  readonly life: OperatedLife
  readonly ended: Promise<SupervisedRun>
  readonly orders: OrderQueue
  /** Separate queue: a capture takes long, and must not delay tightening. */
  readonly captures: OrderQueue
}

/** Queue of orders: the last one, and the number waiting. */
interface OrderQueue {
  last: Promise<unknown>
  waiting: number
}

/**
 * Orders of operators to a life: each one takes rights away, or pauses and resumes; none grants any.
 *
 * Orders to one life run one after another, in bounded queues; captures have their own queue and a deadline. Orders
 * are executed first and recorded afterwards, so that a full disk prevents no termination.
 */
export function createLiveOperations({
  writeRecord,
  keep,
  mutex = createMutex(),
}: LiveOperationsOptions): LiveOperations {
  const lives = new Map<string, RegisteredLife>()

  /** Same error for a foreign tenant, a finished and an unknown life: existence is not revealed. */
  function known(id: string, { tenant }: Operator): RegisteredLife {
    const found = lives.get(id)
    if (found && (tenant === undefined || found.life.parts.profile.tenant === tenant)) return found
    throw new MayflyError('NOT_FOUND', 'Cannot find this sandbox')
  }

  /** Runs orders of one life sequentially, with a bounded queue. */
  async function enqueueOrder<T>(
    id: string,
    by: Operator,
    which: 'orders' | 'captures',
    work: (life: OperatedLife) => Promise<T>,
  ): Promise<T> {
    const queue = known(id, by)[which]
    if (queue.waiting >= waitingMax)
      throw new MayflyError('RATE_LIMITED', 'Cannot take another order for this sandbox now', {
        retryAfterMs: 1000,
      })
    queue.waiting += 1
    const order = queue.last.then(async () => {
      const { life } = known(id, by)
      life.assertNotOver()
      return await work(life)
    })
    queue.last = order.catch(() => undefined)
    try {
      return await order
    } finally {
      queue.waiting -= 1
    }
  }

  function recordOrder(
    point: Point,
    fields: Record<string, unknown>,
    life: OperatedLife,
    by: Operator,
  ) {
    const { run, parts } = life
    writeRecord(point, fields, { run, tenant: parts.profile.tenant, actor: by.principal })
  }

  async function tighten(
    life: OperatedLife,
    { controls, zone = mainZone }: Parameters<Operations['tighten']>[1],
    by: Operator,
  ) {
    const to = tightenedControls(life, controls, zone)
    const order = { actor: 'operator', reason: 'tightened by hand', zone }
    const { took, value: held } = await timed(life, () => life.supervisor.tighten(to, order))
    recordOrder('operator/tightened', { controls: Object.keys(controls), zone, held }, life, by)
    return { id: life.run, zone, held, took, controls: life.controlsOf(zone) }
  }

  async function freeze(life: OperatedLife, by: Operator) {
    life.assertBegun()
    requireAbility(life, 'freeze')
    const { sandbox, clock } = life.parts
    const { took } = await timed(life, () =>
      wallAnswer(() => sandbox.freeze(), clock).catch((thrown: unknown) =>
        freezeFailed(life, thrown),
      ),
    )
    life.note({ event: 'frozen', took, reason: 'operator' })
    recordOrder('operator/frozen', { took }, life, by)
    return { id: life.run, frozen: true, took }
  }

  async function thaw(life: OperatedLife, by: Operator) {
    life.assertBegun()
    requireAbility(life, 'freeze')
    const { sandbox, clock } = life.parts
    const { took } = await timed(life, () => wallAnswer(() => sandbox.thaw(), clock))
    life.note({ event: 'thawed', took, reason: 'operator' })
    recordOrder('operator/thawed', { took }, life, by)
    return { id: life.run, frozen: false, took }
  }

  async function capture(life: OperatedLife, by: Operator) {
    life.assertBegun()
    const { sandbox, profile, clock } = life.parts
    const leave = new AbortController()
    const wait = clock.after(captureWaitMsMax, () => leave.abort(captureTimeout(life)))
    const { took, value: fields } = await timed(life, () =>
      mutex(async () => {
        wait.cancel()
        life.assertNotOver()
        // Deadline for the wall's answer, so that queued captures are not blocked.
        const asked = wallAnswer(() => sandbox.capture(), clock, captureMsMax)
        const value = await asked.catch((thrown: unknown) => captureFailed(life, thrown))
        const of = { run: life.run, tenant: profile.tenant, because: 'operator' } as const
        return captureSummary(value, await keep?.(of, value))
      }, leave.signal),
    )
    const { kind, why, parts = [] } = fields
    life.note({ event: 'captured', took, reason: 'operator', fields })
    recordOrder('operator/captured', fields, life, by)
    return { id: life.run, kind, ...(why !== undefined && { why }), parts, took }
  }

  const operations: Operations = {
    list: ({ tenant }) =>
      [...lives.values()]
        .map(({ life }) => life.row)
        .filter((row) => tenant === undefined || row.tenant === tenant)
        .toReversed(),
    find: (id, by) => known(id, by).life.details,
    async tighten(id, asked, by) {
      return await enqueueOrder(id, by, 'orders', (life) => tighten(life, asked, by))
    },
    async freeze(id, by) {
      return await enqueueOrder(id, by, 'orders', (life) => freeze(life, by))
    },
    async thaw(id, by) {
      return await enqueueOrder(id, by, 'orders', (life) => thaw(life, by))
    },
    async capture(id, by) {
      return await enqueueOrder(id, by, 'captures', (life) => capture(life, by))
    },
    async endZone(id, zone, by) {
      if (zone === mainZone) {
        const { took } = await operations.terminate(id, by)
        return { id, zone, took }
      }
      const { life } = known(id, by)
      const order = { actor: 'operator', reason: 'ended by hand', zone }
      const { took } = await timed(life, async () => life.supervisor.terminate(order))
      recordOrder('operator/terminated', { zone }, life, by)
      return { id, zone, took }
    },
    async terminate(id, by) {
      const { life, ended } = known(id, by)
      const { took, value } = await timed(life, () => {
        life.supervisor.terminate({ actor: 'operator', reason: 'terminated by hand' })
        return ended
      })
      const { status } = value.end
      recordOrder('operator/terminated', { status }, life, by)
      return { id, status, took }
    },
  }

  return {
    operations,
    observe(parts) {
      const life = new OperatedLife(parts)
      const ended = Promise.withResolvers<SupervisedRun>()
      // A run that throws is its caller's; operators only wait for it.
      ended.promise.catch(() => undefined)
      return {
        attach: (handle, emit) => life.attach(handle, emit),
        begin(task) {
          life.run = task.run
          const queues = { orders: newQueue(), captures: newQueue() }
          lives.set(task.run, { life, ended: ended.promise, ...queues })
          return undefined
        },
        entry(entry) {
          life.record(entry)
          return undefined
        },
        end(lived) {
          ended.resolve(lived)
          return { ...lived, timeline: life.withOperatorEntries(lived.timeline) }
        },
        close() {
          ended.reject(brokenRun(life))
          lives.delete(life.run)
        },
      }
    },
  }
}

/** For operators that wait for a run which threw; no effect after its end. */
function brokenRun({ run }: OperatedLife): MayflyError {
  return new MayflyError('NOT_FOUND', `Cannot find "${run}" any more: its run broke`)
}

const newQueue = (): OrderQueue => ({ last: Promise.resolve(), waiting: 0 })

function captureTimeout({ run }: OperatedLife): MayflyError {
  const why = `${captureWaitMsMax / 1000} s went by while others were captured`
  return new MayflyError('UNAVAILABLE', `Cannot capture "${run}" now: ${why}`, {
    retryAfterMs: captureWaitMsMax,
  })
}

/** Controls after the order. Throws MayflyError CONFLICT if they would loosen, or the wall cannot close them. */
function tightenedControls(
  life: OperatedLife,
  controls: Partial<Controls>,
  zone: string,
): Controls {
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

function requireAbility({ run, parts }: OperatedLife, ability: 'freeze'): void {
  if (parts.can.can.includes(ability)) return
  const message = `Cannot ${ability} "${run}": its wall, "${parts.sandbox.provider}", is not able to`
  throw new MayflyError('CONFLICT', message, { details: { can: parts.can.can } })
}

/** A wall in an unknown freeze state is ended (fail closed), as for an anomaly. */
function freezeFailed(life: OperatedLife, thrown: unknown): never {
  const reason = `it could not be frozen: ${messageOf(thrown)}`
  life.supervisor.terminate({ actor: 'operator', reason })
  throw new MayflyError('UNAVAILABLE', `Cannot freeze "${life.run}", so it was ended`, {
    detail: messageOf(thrown),
  })
}

function captureFailed(life: OperatedLife, thrown: unknown): never {
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
