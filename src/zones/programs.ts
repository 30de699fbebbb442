import type { TimelineEntry } from '../contract/event.ts'
import type { ProgramZoneAbout, ProgramZoneMade } from '../contract/zones.ts'

/** Zones of one life that an outcome tells of; a program may execute others without end. */
const toldMax = 256

interface Lived {
  began: number | undefined
  readonly phases: Set<string>
  cut: string | undefined
}

/** What became of the zones of programs of one life, for its outcome. */
export class ProgramStory {
  readonly #zones = new Map<string, ProgramZoneAbout & { readonly kind: string }>()
  readonly #gone = new Map<string, { readonly why: string; readonly peakBytes: number }>()
  readonly #lives = new Map<string, Lived>()

  began(zone: string, kind: string, about: ProgramZoneAbout): void {
    if (this.#zones.size >= toldMax) return
    this.#zones.set(zone, { ...about, kind })
    this.#lives.set(zone, { began: undefined, phases: new Set(), cut: undefined })
  }

  /** A line of the life, also of those that its timeline has no room for. */
  hear({ at, zone, event, phase, reason }: TimelineEntry): void {
    const lived = this.#lives.get(zone)
    if (!lived) return
    lived.began ??= at
    if (phase !== undefined) lived.phases.add(phase)
    if (event === 'terminated') lived.cut ??= reason
  }

  gone(zone: string, why: string, { peakBytes }: { readonly peakBytes: number }): void {
    if (this.#zones.has(zone)) this.#gone.set(zone, { why, peakBytes })
  }

  /** Undefined where there were none. Who was ended was ended for the reason that its timeline has. */
  told(): readonly ProgramZoneMade[] | undefined {
    if (this.#zones.size === 0) return undefined
    return [...this.#zones].map(([zone, about]) => {
      const { began = 0, phases, cut } = this.#lives.get(zone)!
      const gone = this.#gone.get(zone)
      return {
        zone,
        ...about,
        began,
        phases: [...phases],
        why: cut ?? gone?.why ?? 'the program is over',
        ...(gone && { peakBytes: gone.peakBytes }),
      }
    })
  }
}
