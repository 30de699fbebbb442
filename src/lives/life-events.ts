import type { Point, Emitter } from '../contract/event.ts'
import type { TaskEnd } from '../contract/provider.ts'
import { mainZone } from '../contract/phase.ts'

/** Emits the events of a life. Every phase reported as opened is reported as closed or terminated once. */
export class LifeEvents {
  /** Run id, once known. */
  run: string | null = null
  readonly #emitter: Emitter
  readonly #onEmit: (point: Point, zone: string) => void
  /** Open phase by zone. */
  readonly #open = new Map<string, string>()

  constructor(emitter: Emitter, onEmit: (point: Point, zone: string) => void) {
    this.#emitter = emitter
    this.#onEmit = onEmit
  }

  emit(point: Point, fields: Readonly<Record<string, unknown>>, zone: string = mainZone): void {
    this.#onEmit(point, zone)
    this.#emitter.emit(point, fields, { run: this.run, zone, actor: 'temporal' })
  }

  phaseOpened(zone: string, phase: string): void {
    this.#open.set(zone, phase)
    this.emit('phase/opened', { phase }, zone)
  }

  /** A reason marks a phase that was cut off. */
  phaseClosed(zone: string, reason?: string): void {
    const phase = this.#open.get(zone)
    if (!this.#open.delete(zone)) return
    if (reason === undefined) this.emit('phase/closed', { phase }, zone)
    else this.emit('phase/terminated', { phase, reason }, zone)
  }

  limitHit({ error, isReported }: TaskEnd): void {
    const fields = { code: error?.code }
    const trust = isReported ? 'guest' : 'host'
    this.#emitter.emit('limit/hit', fields, { run: this.run, actor: 'temporal', trust })
  }

  /** Closes all open phases, latest first. */
  closeAll(reason: string | undefined): void {
    for (const zone of [...this.#open.keys()].toReversed()) this.phaseClosed(zone, reason)
  }
}
