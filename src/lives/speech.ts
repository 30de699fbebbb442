import type { Point, Emitter } from '../contract/event.ts'
import { mainZone } from '../contract/phase.ts'

/** What a supervisor says of its life. Each phase that it says is open it says once is closed. */
export class Speech {
  /** Of which run, once that is known. */
  run: string | null = null
  readonly #voice: Emitter
  readonly #heard: (point: Point, zone: string) => void
  /** The phase that is open, of each zone that has one. */
  readonly #open = new Map<string, string>()

  constructor(voice: Emitter, heard: (point: Point, zone: string) => void) {
    this.#voice = voice
    this.#heard = heard
  }

  say(point: Point, fields: Readonly<Record<string, unknown>>, zone: string = mainZone): void {
    this.#heard(point, zone)
    this.#voice.say(point, fields, { run: this.run, zone, actor: 'temporal' })
  }

  opened(zone: string, phase: string): void {
    this.#open.set(zone, phase)
    this.say('phase/opened', { phase }, zone)
  }

  /** With a reason, the phase was cut off with what it was a phase of. */
  closed(zone: string, reason?: string): void {
    const phase = this.#open.get(zone)
    if (!this.#open.delete(zone)) return
    if (reason === undefined) this.say('phase/closed', { phase }, zone)
    else this.say('phase/terminated', { phase, reason }, zone)
  }

  /** All that are open, the latest first. */
  allClosed(reason: string | undefined): void {
    for (const zone of [...this.#open.keys()].toReversed()) this.closed(zone, reason)
  }
}
