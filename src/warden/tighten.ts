import { asRealUser } from '../os/libc.js'
import { bind, tasksFor, type Bounds } from './bounds.ts'
import { boundsFor } from './claim.ts'
import type { Holder } from './hold.ts'
import type { Live } from './live.ts'
import { limitTasksOfAll } from './limit-tasks.ts'
import type { BoundMechanisms, Request } from '../contract/warden.ts'
import { watchTree } from './watch.ts'

/** What a claimed wall is held to from now on, beside what it was held to before. */
export type Tightening = Pick<
  Extract<Request, { op: 'tighten' }>,
  'memory' | 'cpu' | 'processes' | 'io'
>

/**
 * Lowers bounds while the program runs, and reads each back. Nothing here can raise one: what is looser than before stays
 * as it was. Throws where a bound does not hold, as when more memory is in use than the group may be told.
 */
export async function tighten(
  live: Live,
  asked: Tightening,
  by: { readonly holder: Holder; readonly watches: boolean },
): Promise<BoundMechanisms> {
  const { taken } = live
  const before = live.held
  if (!before) throw new Error('it holds no job')
  const to = {
    cpu: stricter(asked.cpu, before.cpu),
    io: stricter(asked.io, before.io),
    processes: stricter(asked.processes, before.processes),
  }
  const memory = Math.min(asked.memory ?? Infinity, before.memory)
  const { residentMax, groupMax } = boundsFor(live, memory, before)
  live.zones?.tightenAll(asked)
  if (groupMax < before.groupMax) taken.cgroup?.limit({ memory: groupMax })
  const isByRlimit = taken.slot === undefined && !taken.cgroup?.controllers.includes('pids')
  const { processes, ...others } = to
  const held = bind(taken, live.layers, given(isByRlimit ? others : to))
  live.held = { ...before, ...to, memory, residentMax, groupMax }
  const heldMax = by.watches ? residentMax : Infinity
  // Whatever else is asked for holds before this is waited for.
  const cores = held.cpu === 'watch' ? to.cpu : undefined
  by.holder.change(live.id, {
    residentMax: heldMax,
    watch: watchTree(taken, {
      idleBytes: live.idleBytes,
      residentMax: heldMax,
      cores,
      kills: live.killsAtClaim,
      zones: live.zones,
    }),
  })
  if (isByRlimit && to.processes !== undefined)
    await limitTasksOfAll(taken, tasksFor(taken, to.processes))
  return { ...held, ...(isByRlimit && processes !== undefined && { processes: 'rlimit' }) }
}

function given(to: { readonly [bound in keyof Bounds]?: number | undefined }): Bounds {
  return Object.fromEntries(Object.entries(to).filter(([, value]) => value !== undefined))
}

function stricter(asked: number | undefined, before: number | undefined): number | undefined {
  return asked === undefined ? before : Math.min(asked, before ?? Infinity)
}

/**
 * No process and no thread is started in it from here on: the bound of its group, or of each of its processes, is
 * none, and stays so. Throws where that does not hold.
 */
export async function startNone({ taken, layers }: Live): Promise<void> {
  taken.startsNone = true
  const { slot, cgroup } = taken
  if (cgroup?.controllers.includes('pids')) return cgroup.limit({ pids: 0 })
  const isCounted = layers.includes('own uid') || layers.includes('user namespace')
  if (!isCounted) throw new Error('nothing here counts its processes')
  await limitTasksOfAll(taken, 0, (limit) => (slot ? asRealUser(slot.uid, limit) : limit()))
}
