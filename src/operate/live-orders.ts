import { withLife } from '../contract/captured-life.ts'
import { captureMsMax, captureSummary, captureWaitMsMax } from '../contract/capture-summary.ts'
import { controlsBeyond, controlNames, type Control, type Controls } from '../contract/controls.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Point } from '../contract/event.ts'
import type { Operations, Operator } from '../contract/live.ts'
import { mainZone } from '../contract/phase.ts'
import type { KeepCapture, SupervisedRun } from '../contract/pipeline.ts'
import { wallAnswer } from '../contract/wall-answer.ts'
import type { Mutex } from '../lib/mutex.ts'
import type { OperatedLife } from './operated-life.ts'

export interface OrderParts {
  /** Records an operation. Throws MayflyError STATE. */
  readonly writeRecord: (
    point: Point,
    fields: Readonly<Record<string, unknown>>,
    about: { readonly run: string; readonly tenant: string; readonly actor: string },
  ) => void
  /** Stores a capture. Throws MayflyError STATE. */
  readonly keep?: KeepCapture
  /** Serialises the captures of this process. */
  readonly mutex: Mutex
}

/**
 * Orders of operators to one life, each executed first and recorded afterwards, so that a full disk prevents no
 * termination.
 */
export class LiveOrders {
  readonly #parts: OrderParts

  constructor(parts: OrderParts) {
    this.#parts = parts
  }

  async tighten(
    life: OperatedLife,
    { controls, zone = mainZone }: Parameters<Operations['tighten']>[1],
    by: Operator,
  ) {
    const to = tightenedControls(life, controls, zone)
    const order = { actor: 'operator', reason: 'tightened by hand', zone }
    const { took, value: held } = await timed(life, () => life.supervisor.tighten(to, order))
    this.#record('operator/tightened', { controls: Object.keys(controls), zone, held }, life, by)
    return { id: life.run, zone, held, took, controls: life.controlsOf(zone) }
  }

  async freeze(life: OperatedLife, by: Operator) {
    const { sandbox, clock } = life.parts
    const failed = (thrown: unknown) => freezeFailed(life, thrown)
    const freeze = () => wallAnswer(() => sandbox.freeze(), clock).catch(failed)
    return await this.#pause(life, by, 'frozen', freeze)
  }

  async thaw(life: OperatedLife, by: Operator) {
    const { sandbox, clock } = life.parts
    const failed = unavailable(life, 'thaw', { hint: 'Thaw it again, or end it' })
    const thaw = () => wallAnswer(() => sandbox.thaw(), clock).catch(failed)
    return await this.#pause(life, by, 'thawed', thaw)
  }

  async #pause(
    life: OperatedLife,
    by: Operator,
    event: 'frozen' | 'thawed',
    order: () => Promise<unknown>,
  ) {
    life.assertBegun()
    requireFreeze(life)
    const { took } = await timed(life, order)
    life.note({ event, took, reason: 'operator' })
    this.#record(event === 'frozen' ? 'operator/frozen' : 'operator/thawed', { took }, life, by)
    return { id: life.run, frozen: event === 'frozen', took }
  }

  async capture(life: OperatedLife, by: Operator) {
    life.assertBegun()
    const { sandbox, profile, clock } = life.parts
    const { keep, mutex } = this.#parts
    const leave = new AbortController()
    const wait = clock.after(captureWaitMsMax, () => leave.abort(captureTimeout(life)))
    const { tenant } = profile
    const captureNow = async () => {
      wait.cancel()
      life.assertNotOver()
      // Deadline for the wall's answer, so that queued captures are not blocked.
      const asked = wallAnswer(() => sandbox.capture(), clock, captureMsMax)
      const value = await asked.catch(unavailable(life, 'capture'))
      const whole = withLife(value, life.supervisor.soFar())
      return captureSummary(
        value,
        await keep?.({ run: life.run, tenant, because: 'operator' }, whole),
      )
    }
    const { took, value: fields } = await timed(life, () =>
      mutex(captureNow, { leave: leave.signal, tenant }),
    )
    const { kind, why, parts = [] } = fields
    life.note({ event: 'captured', took, reason: 'operator', fields })
    this.#record('operator/captured', fields, life, by)
    return { id: life.run, kind, ...(why !== undefined && { why }), parts, took }
  }

  async endZone(life: OperatedLife, zone: string, by: Operator) {
    const order = { actor: 'operator', reason: 'ended by hand', zone }
    const { took } = await timed(life, async () => life.supervisor.terminate(order))
    this.#record('operator/terminated', { zone }, life, by)
    return { id: life.run, zone, took }
  }

  /** Ends the whole life; `ended` is its end. */
  async terminate(life: OperatedLife, ended: Promise<SupervisedRun>, by: Operator) {
    const { took, value } = await timed(life, () => {
      life.supervisor.terminate({ actor: 'operator', reason: 'terminated by hand' })
      return ended
    })
    const { status } = value.end
    this.#record('operator/terminated', { status }, life, by)
    return { id: life.run, status, took }
  }

  #record(point: Point, fields: Record<string, unknown>, life: OperatedLife, by: Operator): void {
    const { run, parts } = life
    const about = { run, tenant: parts.profile.tenant, actor: by.principal }
    this.#parts.writeRecord(point, fields, about)
  }
}

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
  const details = { ...which, inForce }
  return new MayflyError('CONFLICT', `Cannot tighten it: ${why}`, { details })
}

function requireFreeze({ run, parts }: OperatedLife): void {
  if (parts.can.can.includes('freeze')) return
  const message = `Cannot freeze "${run}": its wall, "${parts.sandbox.provider}", is not able to`
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

/** Rethrows what has a code, and gives one to a wall that fails or is late; the wall stays as it is. */
function unavailable(life: OperatedLife, order: string, parts?: { readonly hint: string }) {
  return (thrown: unknown): never => {
    if (thrown instanceof MayflyError) throw thrown
    throw new MayflyError(
      'UNAVAILABLE',
      `Cannot ${order} "${life.run}": ${messageOf(thrown)}`,
      parts,
    )
  }
}

async function timed<T>(
  { parts }: OperatedLife,
  work: () => Promise<T>,
): Promise<{ readonly took: number; readonly value: T }> {
  const began = parts.clock.now()
  const value = await work()
  return { took: parts.clock.now() - began, value }
}
