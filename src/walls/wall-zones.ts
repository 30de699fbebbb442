import type { Controls } from '../contract/controls.ts'
import type { ZoneListener } from '../contract/provider.ts'
import type { ZoneReport } from '../contract/warden.ts'
import type { GuestZones } from './guest-kind.ts'
import type { GuestLife } from './guest-life.ts'
import { boundsWithin } from './program-claim.ts'

/** Zones of programs in one wall, which the warden makes and bounds. */
export function wallZones(life: GuestLife): GuestZones {
  const { warden } = life.parts
  return {
    listen: (listener) => warden.onZone(life.wall, (report) => reportZone(listener, report)),
    async tighten(to: Controls, zone: string) {
      const asked = boundsWithin(to, life.controls)
      await warden.tighten(life.wall, { zone, ...asked })
      return { ...life.controls, ...asked }
    },
    end: async (zone) => void (await warden.kill(life.wall, zone)),
  }
}

/** Forwards the warden's report on a program zone to its listener. */
function reportZone(listener: ZoneListener, report: ZoneReport): void {
  const { what, zone, kind, program, parent, entered, why = 'ended', peakBytes = 0 } = report
  const { enforced = unheld, trust } = report
  const about = { program, parent, entered, enforced, ...(trust && { trust }) }
  if (what !== 'gone') listener.began(zone, kind, about)
  if (what !== 'began') listener.gone(zone, why, { peakBytes })
}

/** Bounds of a zone that was killed at its creation. */
const unheld = { memory: 'none', cpu: 'none', processes: 'none' } as const
