import { lowest, meetBounds } from '../../enclosure-life.ts'
import { RateBucket } from '../../../lib/rate-bucket.ts'
import { constants } from 'node:os'
import { MayflyError, messageOf } from '../../../contract/error.ts'
import { isAlive, isExiting } from '../../../os/proc.ts'
import { ExecScan } from './exec-scan.ts'
import { createCpuThrottle } from '../cpu-throttle.ts'
import { memoryHit, nestedTooDeep, overByItself, zoneSlackMs } from '../zone-ends.ts'
import { ZoneNames } from '../zone-names.ts'
import type { ZoneReport } from '../../../contract/warden.ts'
import { signalAll } from '../../../os/signal.ts'
import { processesOfWall } from './members.ts'
import {
  addBelow,
  fullOf,
  isInZone,
  pidNamespaceOf,
  zoneReportOf,
  type LiveZone,
} from './program-zone.ts'
import type { WallResources } from './resources.ts'
import { belowOf, bytesOf, cpuMsOf, tasksIn } from '../../../os/process-tree.ts'
import {
  locateAll,
  groupMembers,
  markedMembers,
  locate,
  type ZoneLocations,
  type ZoneMembers,
  type ZoneLocation,
} from './zone-members.ts'
import {
  zoneDepthMax,
  isMarked,
  isWithinMark,
  markWithin,
  zonesInOneMax,
  type Mark,
} from './zone-marks.ts'
import type { ZoneBounds, ZoneRule } from '../../../contract/zone-rules.ts'
import { ruleFinder, type Executed } from './zone-rules.ts'

/** Limits of zones in a wall: live ones, and total over its life. */
const aliveMax = 32
const zonesMax = 250
/** Rate limit of execs of a wall, as a token bucket; beyond it an exec gets EAGAIN. */
const asks = { burst: 1000, eachMs: 0.5 } as const
/** Limit of reports about programs that were refused, or killed when a scan found them. */
const refusedMax = 50
/** Memory slack of a watched zone: mapped files, and allocations between two samples. */
const watchedSlackBytes = 16 * 2 ** 20
const GONE_MS_MAX = 5_000
const POLL_MS = 2

/** An exec notified by the sentinel (seccomp notify): the process still runs the old program. */
export interface ExecRequest extends Executed {
  readonly pid: number
}

type About = Pick<ZoneReport, 'program' | 'entered'> & { readonly pid: number }

/** True if a zone within this one would be nested too deep: its program must not run in looser limits than its own. */
function isTooDeep(outer: LiveZone | undefined): boolean {
  return outer !== undefined && outer.depth + 1 >= zoneDepthMax
}

const noZones = () =>
  new MayflyError(
    'UNAVAILABLE',
    'Cannot make zones of programs in a wall with a keeper and without control groups',
    { hint: 'Choose a schedule without zones of programs, or let Mayfly make control groups' },
  )

export interface ProgramZonesParts {
  readonly resources: WallResources
  readonly rules: readonly ZoneRule[]
  /** Pid of the wall's own program. */
  readonly pid: number
  /** CPU limit of the whole wall, in cores. */
  readonly cpu: number | undefined
  /** True if the sentinel notifies of each exec before it happens. */
  readonly isAsked: boolean
  readonly report: (report: ZoneReport) => void
}

/**
 * Zones of a wall's programs: when a process executes a named program, it and all its descendants get bounds and a
 * lifetime of their own, within those of the enclosing zone. With a sentinel the exec is notified, and the process is
 * in its zone before the first instruction of the new program; without one the next scan finds it. No process leaves a
 * zone: its children are in it, or in a nested zone.
 *
 * Membership is a child cgroup, or a mark that is inherited by fork and that a process can only lower (zone-marks.ts).
 * Relies on the caller to scan each 2 to 10 ms. Not handled: a program without a sentinel that ends before a scan.
 */
export class ProgramZones {
  readonly #parts: ProgramZonesParts
  readonly #ruleOf: (executed: Executed) => ZoneRule | undefined
  readonly #zones = new Map<string, LiveZone>()
  readonly #names = new ZoneNames()
  readonly #execs: ExecScan
  #made = 0
  #ofWhole = 0
  #refused = 0
  /** A wall that calls exec in a loop must not starve the others of the warden. */
  readonly #asks = new RateBucket(asks)
  readonly #pidNamespace: string
  #cpu: number | undefined

  /** Throws UNAVAILABLE for a wall whose keeper has marked its processes already, and that has no control group. */
  constructor(parts: ProgramZonesParts) {
    const { cgroup, mark } = parts.resources
    if (mark !== undefined && !cgroup) throw noZones()
    this.#parts = parts
    this.#ruleOf = ruleFinder(parts.rules)
    this.#cpu = parts.cpu
    this.#execs = new ExecScan(parts.pid, processesOfWall(parts.resources))
    this.#pidNamespace = pidNamespaceOf(parts.pid)
  }

  /** Answers a notified exec: 0 allows it, any other value is its errno. */
  answerExec(asking: ExecRequest): number {
    if (!this.#asks.take()) return constants.errno.EAGAIN
    try {
      // The pid may have been reused, by another wall or outside of any.
      if (pidNamespaceOf(asking.pid) !== this.#pidNamespace) return constants.errno.EAGAIN
      const rule = this.#ruleOf(asking)
      const zone = this.#zoneOf(asking.pid)
      if (zone?.why !== undefined) return constants.errno.EAGAIN
      if (!rule || isInZone(zone, rule)) return 0
      const program = asking.real || asking.path
      const about = { pid: asking.pid, program, entered: 'asked' } as const
      if (!isTooDeep(zone)) return this.#begin(rule, zone, about) ? 0 : constants.errno.EAGAIN
      this.#reportRefused(rule, zone, about, nestedTooDeep)
      return constants.errno.EPERM
    } catch {
      // Fails closed: the process is gone, or its zone cannot be found.
      return constants.errno.EAGAIN
    }
  }

  /** Samples each zone and finds unnotified programs. Returns the processes that must stay stopped. */
  check(pids: readonly number[], now: number): ReadonlySet<number> {
    this.#findNew(pids)
    const stopped = new Set<number>()
    const all = this.#locateAll(pids)
    for (const zone of this.#zones.values()) {
      const own = zone.members.among(all).filter((pid) => isAlive(pid))
      zone.unseen = own.length === 0 ? zone.unseen + 1 : 0
      if (zone.unseen > 0) this.#unseen(zone)
      else if (zone.why !== undefined) this.#kill(zone)
      else this.#hold(zone, own, now, stopped)
    }
    return stopped
  }

  /**
   * Tightens one zone. Throws if there is no such zone, or if a bound is not enforced. Race: one that is being killed, as at its
   * limit, has nothing left open, and ends for its own cause.
   */
  tighten(name: string, to: ZoneBounds): NonNullable<ZoneReport['enforced']> {
    const zone = this.#zones.get(name)
    if (!zone) throw new Error(`it has no zone "${name}"`)
    if (zone.why === undefined) this.#limit(zone, to)
    return this.#heldBy(zone)
  }

  /** Tightens all zones, before the whole wall: the kernel refuses a quota below that of a child group. */
  tightenAll({ cpu }: ZoneBounds): void {
    if (cpu === undefined) return
    this.#cpu = lowest(this.#cpu, cpu)
    for (const zone of [...this.#zones.values()].toReversed())
      if (zone.bounds.cpu !== undefined && zone.bounds.cpu > cpu) this.#limit(zone, { cpu })
  }

  /** Ends a zone and its nested zones. Resolves when no process of them is left. */
  async end(name: string, why: string): Promise<void> {
    const zone = this.#zones.get(name)
    if (!zone) return
    this.#end(zone, why)
    const began = performance.now()
    // A frozen process dies at its thaw, before its next user instruction.
    while (this.#zones.has(name) && !this.#parts.resources.isFrozen) {
      if (performance.now() - began > GONE_MS_MAX) throw new Error(`zone "${name}" does not end`)
      await new Promise((resolve) => void setTimeout(resolve, POLL_MS))
      this.check(processesOfWall(this.#parts.resources), performance.now())
    }
  }

  /** Without a cgroup one scan may miss a process that is being reparented. */
  #unseen(zone: LiveZone): void {
    if (zone.members.group || zone.unseen > 1) this.#gone(zone)
  }

  #hold(zone: LiveZone, own: readonly number[], now: number, stopped: Set<number>): void {
    const { bounds, endsAt } = zone
    const bytes = bytesOf(own)
    zone.peakBytes = Math.max(zone.peakBytes, bytes)
    const held = this.#heldBy(zone)
    const isBeyond = held.memory === 'watch' && bytes > bounds.memory! + watchedSlackBytes
    if (isBeyond) return this.#end(zone, memoryHit)
    const full = this.#fullAt(zone)
    if (full) return this.#end(full, memoryHit)
    // A pids cgroup refuses new tasks, but the zone may have had more when it was found.
    if (bounds.processes !== undefined && tasksIn(own) > bounds.processes)
      return this.#end(zone, 'limit PROCESSES')
    if (now >= endsAt) return this.#end(zone, 'timeout')
    if (held.cpu !== 'watch') return
    zone.throttle ??= createCpuThrottle(bounds.cpu!, now, cpuMsOf(own))
    if (!zone.throttle.check(now, cpuMsOf(own))) for (const pid of own) stopped.add(pid)
  }

  /**
   * Kills programs that run unnotified or were notified as another program; without a sentinel, adds them to a zone.
   */
  #findNew(pids: readonly number[]): void {
    for (const { pid, file } of this.#execs.since(pids)) this.#found(pid, file)
    if (!this.#hasGroups) this.#endStrays(pids)
  }

  #found(pid: number, file: string): void {
    const rule = this.#ruleOf({ path: file, real: file, by: [] })
    const zone = this.#zoneOf(pid)
    if (!rule || isInZone(zone, rule) || zone?.why !== undefined) return
    // The cgroup v1 of a process in exit(2) reads as the root.
    if (isExiting(pid)) return
    const about = { pid, program: file, entered: 'seen' } as const
    const why = this.#whyNot(rule, zone, about)
    if (why === undefined) return
    signalAll([pid, ...belowOf(pid)], 'SIGKILL')
    this.#reportRefused(rule, zone, about, why)
  }

  #reportRefused(rule: ZoneRule, zone: LiveZone | undefined, about: About, why: string): void {
    if (++this.#refused > refusedMax) return
    const name = this.#names.next(rule)
    const parent = zone?.name ?? 'main'
    this.#parts.report({ ...zoneReportOf(rule, name, parent, about), what: 'refused', why })
  }

  /** Reason why a found program gets no zone and is killed. Never throws: the same turn samples other walls. */
  #whyNot(rule: ZoneRule, zone: LiveZone | undefined, about: About): string | undefined {
    // The exec was notified, and allowed, as another program.
    if (this.#parts.isAsked) return 'its exec was notified as another program'
    if (isTooDeep(zone)) return nestedTooDeep
    try {
      return this.#begin(rule, zone, about) ? undefined : 'there are too many zones'
    } catch (error) {
      return `it could not be added to a zone: ${messageOf(error)}`
    }
  }

  #begin(rule: ZoneRule, parent: LiveZone | undefined, about: About): boolean {
    const depth = parent ? parent.depth + 1 : 0
    const within = parent ? parent.within : this.#ofWhole
    const isFull = this.#zones.size >= aliveMax || this.#made >= zonesMax
    if (isFull || within >= zonesInOneMax) return false
    const zone = this.#make(rule, parent, depth)
    try {
      this.#limit(zone, rule)
      zone.members.add(about.pid)
      if (about.entered === 'seen') addBelow(zone, about.pid)
    } catch (error) {
      zone.members.kill(() => new Map())
      zone.members.remove()
      throw error
    }
    this.#zones.set(zone.name, zone)
    const report = zoneReportOf(rule, zone.name, parent?.name ?? 'main', about)
    this.#parts.report({ ...report, what: 'began', enforced: this.#heldBy(zone) })
    return true
  }

  #make(rule: ZoneRule, parent: LiveZone | undefined, depth: number): LiveZone {
    const place = parent ? parent.within++ : this.#ofWhole++
    const { cgroup, slot } = this.#parts.resources
    const outer = parent ? parent.members.group : cgroup
    const members = outer
      ? groupMembers(outer.below(`z${++this.#made}`))
      : this.#marked(markWithin(parent?.members.mark, depth, place), depth, slot?.uid)
    const endsAt = performance.now() + rule.life + zoneSlackMs
    const name = this.#names.next(rule)
    const fresh = {
      bounds: {},
      throttle: undefined,
      within: 0,
      unseen: 0,
      peakBytes: 0,
      why: undefined,
    }
    return { name, rule, parent, depth, members, endsAt, ...fresh }
  }

  #marked(mark: Mark, depth: number, uid: number | undefined): ZoneMembers {
    this.#made++
    return markedMembers(mark, (found) => isWithinMark(found, mark, depth), uid)
  }

  #limit(zone: LiveZone, to: ZoneBounds): void {
    const next = meetBounds(zone.bounds, to)
    const outer = zone.parent ? zone.parent.bounds.cpu : undefined
    const cpu = lowest(next.cpu, outer, this.#cpu)
    zone.members.limit({ ...next, ...(next.cpu !== undefined && cpu !== undefined && { cpu }) })
    zone.bounds = next
    zone.throttle = undefined
  }

  #heldBy({ bounds, members }: LiveZone): NonNullable<ZoneReport['enforced']> {
    const by = (bound: keyof ZoneBounds, controller: 'memory' | 'cpu' | 'pids') => {
      if (bounds[bound] === undefined) return 'none'
      return members.group?.controllers.includes(controller) ? 'cgroup' : 'watch'
    }
    return {
      memory: by('memory', 'memory'),
      cpu: by('cpu', 'cpu'),
      processes: by('processes', 'pids'),
    }
  }

  /**
   * Zone to end after an OOM kill in this one: the outermost that was full, or this one if only the wall was. Undefined
   * without a kill, and after one by a machine that was full: no limit was reached.
   */
  #fullAt(zone: LiveZone): LiveZone | undefined {
    if (zone.members.memoryKills() === 0) return undefined
    return fullOf(zone) ?? (this.#parts.resources.cgroup?.hasBeenFull() ? zone : undefined)
  }

  #end(zone: LiveZone, why: string): void {
    if (zone.why === undefined) {
      for (const one of this.#zones.values()) if (one.parent === zone) this.#end(one, why)
      zone.why = why
    }
    this.#kill(zone)
  }

  #kill({ members }: LiveZone): void {
    members.kill(() => this.#locateAll(processesOfWall(this.#parts.resources)))
  }

  #gone(zone: LiveZone): void {
    // The OOM killer may act before a sample measures the excess.
    const full = zone.why === undefined ? this.#fullAt(zone) : undefined
    if (full) this.#end(full, memoryHit)
    if (!zone.members.remove()) return
    this.#zones.delete(zone.name)
    const { name, rule, parent, peakBytes, why = overByItself } = zone
    const report = zoneReportOf(rule, name, parent?.name ?? 'main', {
      program: '',
      entered: 'seen',
    })
    this.#parts.report({ ...report, what: 'gone', why, peakBytes })
  }

  get #hasGroups(): boolean {
    return this.#parts.resources.cgroup !== undefined
  }

  #locateAll(pids: readonly number[]): ZoneLocations {
    return this.#zones.size > 0 ? locateAll(pids, this.#hasGroups) : new Map()
  }

  #zoneOf(pid: number): LiveZone | undefined {
    return this.#zones.size > 0 ? this.#zoneAt(locate(pid, this.#hasGroups)) : undefined
  }

  /** Innermost zone of a process: nested zones are created after the enclosing one. */
  #zoneAt(at: ZoneLocation): LiveZone | undefined {
    return [...this.#zones.values()].toReversed().find(({ members }) => members.holds(at))
  }

  /** Kills processes whose mark matches no zone: it was tampered with, or its zone has ended. */
  #endStrays(pids: readonly number[]): void {
    if (this.#made === 0) return
    const strays = pids.filter((pid) => {
      const at = locate(pid, false)
      return at.mark !== undefined && isMarked(at.mark) && !this.#zoneAt(at)
    })
    signalAll(strays, 'SIGKILL')
  }
}
