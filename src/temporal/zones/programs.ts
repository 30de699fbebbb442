import type { TimelineEntry } from '../../contract/event.ts'
import type { ProgramZoneAbout, ProgramZoneMade } from '../../contract/zones.ts'

/** Zones of one life that an outcome tells of; a program may execute others without end. */
const toldMax = 256

/** What became of the zones of programs of one life, for its outcome. */
export class ProgramStory {
  readonly #zones = new Map<string, ProgramZoneAbout & { readonly kind: string }>()
  readonly #gone = new Map<string, { readonly why: string; readonly peakBytes: number }>()

  began(zone: string, kind: string, about: ProgramZoneAbout): void {
    if (this.#zones.size < toldMax) this.#zones.set(zone, { ...about, kind })
  }

  gone(zone: string, why: string, { peakBytes }: { readonly peakBytes: number }): void {
    if (this.#zones.has(zone)) this.#gone.set(zone, { why, peakBytes })
  }

  /** Undefined where there were none. Who was ended was ended for the reason that its timeline has. */
  told(timeline: readonly TimelineEntry[]): readonly ProgramZoneMade[] | undefined {
    if (this.#zones.size === 0) return undefined
    return [...this.#zones].map(([zone, about]) => {
      const own = timeline.filter((entry) => entry.zone === zone)
      const cut = own.find(({ event }) => event === 'terminated')?.reason
      const gone = this.#gone.get(zone)
      const phases = [...new Set(own.flatMap(({ phase }) => phase ?? []))]
      return {
        zone,
        ...about,
        began: own[0]?.at ?? 0,
        phases,
        why: cut ?? gone?.why ?? 'the program is over',
        ...(gone && { peakBytes: gone.peakBytes }),
      }
    })
  }
}
