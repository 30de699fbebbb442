import type { Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type {
  ClaimBounds,
  ClaimReadBack,
  Enclosure,
  EnclosureBounds,
  EnclosureEnd,
  EnclosureSockets,
  EngineReport,
  MemorySample,
  KillReceipt,
  WallRank,
} from '../../../contract/engine.ts'
import type { BoundMechanisms, Wall, WallUsage } from '../../../contract/warden.ts'
import { executableOf, proportionalBytes } from '../../../os/proc.ts'
import { isGoneInTime, isKilledForMemory, untilExit } from '../wall-end.ts'
import { closeCalls, closeProcesses, describeCall } from './calls.ts'
import { claim } from './claim.ts'
import { spentMs } from './cpu-time.ts'
import { endOf } from './end.ts'
import { closeListener, openListener, openSharedListener } from './egress-listener.ts'
import { countTasksAnew, isNearTaskBound, limitHitBy, limitReported } from './limit-hit.ts'
import { killWall } from './kill.ts'
import { wallOf, type ProcessWall } from './process-wall.ts'
import type { ProgramZones } from './program-zones.ts'
import { handOver } from './spawn.ts'

/** Time between the sentinel's report of the end and the exit of the wall's outermost process. */
const OVER_MS_MAX = 1_000

export interface EnclosureParts {
  readonly cgroupVersion: 1 | 2 | undefined
  readonly report: (report: EngineReport) => void
  /** Kills remaining processes and releases all resources. */
  readonly release: () => Promise<void>
}

/** A wall of processes, as the warden sees it. Parts that not every wall needs are loaded on first use. */
export class ProcessEnclosure implements Enclosure {
  readonly id: string
  readonly wall: Wall
  readonly isSingleUse: boolean
  readonly lost: Promise<void>
  readonly ended: Promise<EnclosureEnd>
  readonly calls
  readonly memory
  readonly connections
  readonly #wall: ProcessWall
  readonly #parts: EnclosureParts
  readonly #gone = Promise.withResolvers<void>()
  readonly #lose: () => void
  #released: Promise<void> | undefined

  constructor(wall: ProcessWall, parts: EnclosureParts) {
    this.#wall = wall
    this.#parts = parts
    this.id = wall.id
    this.wall = wallOf(wall)
    this.isSingleUse = wall.resources.isWhole
    const { promise, resolve } = Promise.withResolvers<void>()
    this.lost = promise
    this.#lose = resolve
    this.#watchSentinel()
    this.ended = this.#end()
    this.calls = { close: (phases: Parameters<typeof closeCalls>[1]) => closeCalls(wall, phases) }
    this.memory = memoryOf(wall)
    this.connections = connectionsOf(wall)
  }

  get zones() {
    const { zones } = this.#wall
    return zones && zoneControl(zones)
  }

  handOver(): EnclosureSockets {
    return handOver(this.#wall.resources)
  }

  async claim(bounds: ClaimBounds): Promise<ClaimReadBack> {
    // Loaded first, because the wall may end during the import, and must be alive when it is bound.
    if (bounds.zones) await this.#openZones(bounds)
    const readBack = claim(this.#wall, bounds)
    this.#wall.resources.sentinel?.watchCalls(true)
    return readBack
  }

  /** A single-use wall keeps the CPU baseline of its claim. */
  rearm(ranMs: number): void {
    const { resources, spentBefore } = this.#wall
    if (resources.isWhole) return
    const spent = spentMs(resources)
    this.#wall.spentBefore = Math.max(spentBefore, spent - ranMs)
  }

  async tighten(bounds: EnclosureBounds): Promise<BoundMechanisms> {
    tightenPart ??= import('./tighten.ts')
    const { tighten } = await tightenPart
    return await tighten(this.#wall, bounds)
  }

  async freeze(): Promise<number> {
    const { freeze } = await import('./freeze.ts')
    return await freeze(this.#wall.resources, this.#parts.cgroupVersion)
  }

  async thaw(): Promise<void> {
    const { thaw } = await import('./freeze.ts')
    thaw(this.#wall.resources)
  }

  sample(nowMs: number): MemorySample {
    const { watch } = this.#wall
    if (!watch) throw new Error('it has no job')
    return watch(nowMs)
  }

  rank(rank: WallRank): void {
    this.#wall.resources.cgroup?.rank(rank)
  }

  isOutOfMemory(): boolean {
    return isKilledForMemory(this.#wall)
  }

  limitHit(countAnew = false) {
    if (this.#wall.resources.sentinel?.isKeeper) return this.#limitOfKeeper(countAnew)
    const hit = limitHitBy(this.#wall)
    if (countAnew) this.countAnew()
    return hit
  }

  isNearTasks(): boolean {
    return isNearTaskBound(this.#wall)
  }

  async #limitOfKeeper(countAnew: boolean) {
    const hit = await limitReported(this.#wall)
    if (countAnew) this.countAnew()
    return hit
  }

  countAnew(): void {
    countTasksAnew(this.#wall)
  }

  cpuTime() {
    const { resources, spentBefore } = this.#wall
    const sinceStartMs = spentMs(resources)
    this.#seeSpent(sinceStartMs)
    return { sinceStartMs, sinceClaimMs: Math.max(0, sinceStartMs - spentBefore) }
  }

  async usage(): Promise<WallUsage> {
    // Cached: a repeated dynamic import costs 0.3 ms in Node.
    usageParts ??= Promise.all([import('./usage.ts'), import('./closed-socket.ts')])
    const [{ usageOf }, { hasClosedSocket }] = await usageParts
    // A program without its socket cannot report its end. If it called exec, its exit status is still expected.
    const { resources, pid, executable } = this.#wall
    if (hasClosedSocket(resources, pid) && executableOf(pid) === executable) {
      this.#wall.isMute = true
      this.#lose()
    }
    const usage = usageOf(this.#wall)
    this.#seeSpent(usage.cpuMs)
    return usage
  }

  /** Without a cgroup the end of a program that leaves by itself has the CPU time that was seen last. */
  #seeSpent(ms: number): void {
    this.#wall.spentSeen = Math.max(this.#wall.spentSeen, ms)
  }

  facts() {
    const { id, program, pid } = this.#wall
    return { id, program, pid, proportionalBytes: proportionalBytes(pid) }
  }

  openEgress(): Promise<Server | undefined> | Server | undefined {
    const { resources } = this.#wall
    return openListener(resources) ?? openSharedListener(resources)
  }

  closeEgress(): void {
    closeListener(this.#wall.resources)
  }

  async kill(): Promise<KillReceipt> {
    const began = performance.now()
    // Read before the kill: a reaped process has no /proc entry.
    this.#seeSpent(spentMs(this.#wall.resources))
    killWall(this.#wall.resources)
    const isGone = await isGoneInTime(this.#gone.promise)
    return { tookMs: performance.now() - began, isGone }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#wall.handles.close()
    this.#released ??= this.#parts.release().finally(this.#gone.resolve)
    await this.#released
  }

  /** Ends the wall when its sentinel ends: notified system calls would block for ever. */
  #watchSentinel(): void {
    const { id, resources } = this.#wall
    const { sentinel } = resources
    if (!sentinel) return
    sentinel.onCall = (seen) => this.#parts.report({ of: id, seen: describeCall(seen) })
    sentinel.onFlipped = (allowed) => void closeProcesses(this.#wall, allowed).catch(this.#lose)
    // A keeper's exit is that of the wall.
    if (sentinel.isKeeper) return
    // Code 0: the sentinel observed the end of the wall, whose exit status is then the cause.
    void sentinel.ended.then((code) =>
      code === 0 ? void setTimeout(this.#lose, OVER_MS_MAX).unref() : this.#lose(),
    )
  }

  async #end(): Promise<EnclosureEnd> {
    const { child, sentinel } = this.#wall.resources
    await untilExit(child)
    // Waits for the sentinel's last report, which has the cause: none is accepted after the end of the wall.
    if (sentinel)
      await Promise.race([sentinel.silent, sleep(OVER_MS_MAX, undefined, { ref: false })])
    return endOf(this.#wall)
  }

  /** Begins to check each exec of the wall against the zone rules. */
  async #openZones({ zones: rules = [], cpu }: ClaimBounds): Promise<void> {
    const { ProgramZones: Zones } = await import('./program-zones.ts')
    const { id, pid, resources, calls } = this.#wall
    const { sentinel } = resources
    const isAsked = sentinel !== undefined && calls.includes('exec')
    const report = (zone: Parameters<ConstructorParameters<typeof Zones>[0]['report']>[0]) =>
      this.#parts.report({ of: id, zone })
    const zones = new Zones({ resources, pid, rules, cpu, isAsked, report })
    this.#wall.zones = zones
    if (!sentinel) return
    sentinel.onExec = (asked) => zones.answerExec(asked)
    sentinel.askExecs()
  }
}

/** Cached modules: importing one again takes as long as the call into it. */
let tightenPart: Promise<typeof import('./tighten.ts')> | undefined
let usageParts:
  | Promise<[typeof import('./usage.ts'), typeof import('./closed-socket.ts')]>
  | undefined

function memoryOf(wall: ProcessWall) {
  return {
    async open() {
      return (await import('./capture.ts')).openMemory(wall)
    },
    async capture(bytesMax: number) {
      return await (await import('./capture.ts')).capture(wall, bytesMax)
    },
  }
}

function connectionsOf(wall: ProcessWall) {
  return {
    async find(ends: Parameters<typeof import('./connection-owners.ts').ownersOf>[1]) {
      return await (await import('./connection-owners.ts')).ownersOf(wall, ends)
    },
  }
}

/** Tightens and ends zones. A bound that a zone does not set is enforced by that of the whole wall. */
function zoneControl(zones: ProgramZones) {
  return {
    tighten(zone: string, bounds: Parameters<ProgramZones['tighten']>[1]): BoundMechanisms {
      const held = zones.tighten(zone, bounds)
      return { ...held, memory: held.memory === 'cgroup' ? 'cgroup' : 'watch', io: 'none' }
    },
    end: (zone: string) => zones.end(zone, 'ended'),
  }
}
