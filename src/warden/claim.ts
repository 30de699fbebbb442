import { MayflyError } from '../contract/error.ts'
import { isAlive, residentBytes } from '../os/proc.ts'
import { bind } from './bounds.ts'
import type { Holder } from './hold.ts'
import { dropListener, openListener } from './listener.ts'
import type { Beside, HeldTo, Live } from './live.ts'
import type { ClaimResult, BoundMechanisms, Request } from '../contract/warden.ts'
import { spentMs } from './spent.ts'
import type { Taken } from './taken.ts'
import { watchTree } from './watch.ts'

/** What V8 and malloc may overshoot a job's limit by before the wall is killed; a look every few milliseconds needs the rest. */
const memoryFactor = 1.25
const memorySlackBytes = { held: 20 * 2 ** 20, watched: 8 * 2 ** 20 } as const
/** What earlier jobs may have left in a wall that takes another. */
const keptBytesMax = 14 * 2 ** 20
const noBound: BoundMechanisms = { memory: 'watch', processes: 'none', cpu: 'none', io: 'none' }

/**
 * Binds the wall to its first tenant and holds it to the job's memory, deadline and other bounds. What a job may use
 * counts from the wall's idle size, whatever jobs before it left behind; one that kept too much is spent.
 */
export function claim(
  live: Live,
  asked: Extract<Request, { op: 'claim' }>,
  by: { readonly holder: Holder; readonly watches: boolean },
): { readonly value: ClaimResult; readonly beside?: Beside } {
  const { taken } = live
  live.tenant ??= asked.tenant || undefined
  if (asked.tenant && live.tenant !== asked.tenant)
    throw new MayflyError('CONFLICT', `Cannot claim wall "${live.id}": it serves another tenant`)
  // One for whole programs is used once: it still is what it was when it was ready.
  const resident = taken.isWhole ? live.idleBytes : residentBytes(live.pid)
  if (!isThere(live) || resident > live.idleBytes + keptBytesMax)
    return { value: { spent: true, enforced: noBound } }
  const { cgroup } = taken
  // A wall shrinks when it has waited for a while: what it gave back then is no room for the next job.
  const residentMax = residentMaxOf(Math.min(live.idleBytes, resident), asked.memory, taken)
  // What lies in its scratch is memory too, and was granted by another name.
  const room = residentMax - resident + live.disk
  const groupMax = cgroup ? pageUp(cgroup.memoryNow() + room) : Infinity
  cgroup?.limit({ memory: groupMax })
  const enforced = bind(taken, live.layers, asked)
  // What is used once had none before its job: one that had is over.
  live.killsAtClaim = taken.isWhole ? 0 : (cgroup?.memoryKills() ?? 0)
  // Before the job is sent: a baseline read after its release would be late where the machine is busy, and leave out
  // what the program had used by then.
  live.spentBefore = spentMs(taken)
  const { memory, cpu, io, processes } = asked
  live.held = { memory, cpu, io, processes, residentMax, groupMax }
  hold(live, asked, by, { resident, residentMax, enforced })
  const value: ClaimResult = { spent: false, enforced }
  const listener = asked.egress ? openListener(taken) : undefined
  // Before the program is let go: it would find somebody listening where nobody will answer.
  if (!asked.egress) dropListener(taken)
  return listener ? { value, beside: { wall: live.id, handle: listener } } : { value }
}

/** One that ended a moment ago is no wall, whether or not its end has been told. */
function isThere({ taken }: Live): boolean {
  return taken.processes.every(({ pid, startTime }) => isAlive(pid, startTime))
}

function hold(
  live: Live,
  asked: Extract<Request, { op: 'claim' }>,
  by: { readonly holder: Holder; readonly watches: boolean },
  to: {
    readonly resident: number
    readonly residentMax: number
    readonly enforced: BoundMechanisms
  },
): void {
  const residentMax = by.watches ? to.residentMax : Infinity
  const cores = to.enforced.cpu === 'watch' ? asked.cpu : undefined
  const isTree = live.taken.isWhole || cores !== undefined
  by.holder.hold({
    wall: live.id,
    pid: live.pid,
    deadlineAt: performance.now() + asked.deadline,
    residentMax,
    peakBytes: to.resident,
    bytes: to.resident,
    idleBytes: live.idleBytes,
    tenant: live.tenant,
    ...(isTree && {
      watch: watchTree(live.taken, {
        idleBytes: live.idleBytes,
        residentMax,
        cores,
        kills: live.killsAtClaim,
        zones: live.zones,
      }),
    }),
  })
}

function residentMaxOf(base: number, memory: number, { cgroup }: Taken): number {
  const slack = cgroup ? memorySlackBytes.held : memorySlackBytes.watched
  return base + Math.round(memory * memoryFactor) + slack
}

/** The same bounds for less memory, from those it is held to. */
export function boundsFor(
  { taken }: Live,
  memory: number,
  before: HeldTo,
): Pick<HeldTo, 'residentMax' | 'groupMax'> {
  const less = residentMaxOf(0, before.memory, taken) - residentMaxOf(0, memory, taken)
  const { residentMax, groupMax } = before
  return { residentMax: residentMax - less, groupMax: pageUp(groupMax - less) }
}

function pageUp(bytes: number): number {
  return Math.ceil(bytes / 4096) * 4096
}
