import type { TimelineEntry } from '../contract/event.ts'
import type { ProgramZoneAbout, ProgramZoneMade } from '../contract/zones.ts'

/** Limit of program zones in one outcome. */
const loggedZonesMax = 256

interface ZoneLife {
  began: number | undefined
  readonly phases: Set<string>
  cut: string | undefined
}

/** Collects what happened to program zones, for the outcome. */
export class ProgramZoneLog {
  readonly #zones = new Map<string, ProgramZoneAbout & { readonly kind: string }>()
  readonly #gone = new Map<string, { readonly why: string; readonly peakBytes: number }>()
  readonly #lives = new Map<string, ZoneLife>()

  began(zone: string, kind: string, about: ProgramZoneAbout): void {
    if (this.#zones.size >= loggedZonesMax) return
    this.#zones.set(zone, { ...about, kind })
    this.#lives.set(zone, { began: undefined, phases: new Set(), cut: undefined })
  }

  /** Takes every timeline entry, also those beyond the timeline's capacity. */
  record({ at, zone, event, phase, reason }: TimelineEntry): void {
    const lived = this.#lives.get(zone)
    if (!lived) return
    lived.began ??= at
    if (phase !== undefined) lived.phases.add(phase)
    if (event === 'terminated') lived.cut ??= reason
  }

  gone(zone: string, why: string, { peakBytes }: { readonly peakBytes: number }): void {
    if (this.#zones.has(zone)) this.#gone.set(zone, { why, peakBytes })
  }

  /** Undefined without program zones. The reason in the timeline takes precedence. */
  summary(): readonly ProgramZoneMade[] | undefined {
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
