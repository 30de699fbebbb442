import { join } from 'node:path'
import type { Clock, Timer } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'
import type { Checkpoint } from '../contract/evidence.ts'
import type { Event, Point, Sink, Emitter } from '../contract/event.ts'
import type { Job } from '../contract/job.ts'
import type { JobEntry, Plan } from '../contract/pipeline.ts'
import type { Verdict } from '../contract/verdict.ts'
import { forgetUnattended, openBodies, sweepEnded, type Bodies } from './bodies.ts'
import { draft, type AppendedLine, type ChainHead, type Draft } from './chain.ts'
import { Sealer, type CheckpointSigner } from './checkpoint.ts'
import { newSalts } from './commitment.ts'
import { admittedLine, closedLine, endedLine, eventLine, lineOwnerOf } from './lines.ts'
import { eventRoom, type EventRoom } from './line-room.ts'
import { isOwnerAlive, thisOwner, type Owner } from '../lib/owner.ts'
import { Filler } from './filler.ts'
import { isFull } from './state-error.ts'
import { openStore, type OpenLine, type AuditStore } from './store.ts'
import { WriteBackThread } from './write-back-thread.ts'

/** Bodies of this size together are written back at once. */
const writeBackBytes = 2 ** 21

/** Audit log of one state folder, as written by one process. */
export class AuditRecord {
  readonly store: AuditStore
  /** Records events of `recordedPoints`, within the room of their run; counts dropped ones. */
  readonly sink: Sink = (event) => this.#take(event)
  /** Number of events whose line could not be written. */
  lost = 0
  readonly #parts: Parts
  /** Jobs between their admitted and ended lines. */
  readonly #live = new Map<string, Live>()
  /** Ended lines that a full disk or another fault of the record refused, by admitted line. */
  readonly #unwritten = new Map<number, Draft>()
  #bodies: Bodies | undefined
  #bodiesThread: WriteBackThread | undefined
  /** Bytes of bodies since the WAL was last written back. */
  #keptBytes = 0
  #isWritingBack = false
  /** Events outside of runs, and of runs that have ended. */
  readonly #windows = { outside: newWindow(), late: newWindow() }
  /** Start of the disk-full condition. */
  #fullSince: number | undefined
  #retry: Timer | undefined
  readonly #path: string

  constructor(parts: Parts) {
    this.#parts = parts
    this.store = parts.store
    this.#path = join(parts.stateFolder, 'audit.db')
  }

  /** Reason why no line can be written now; otherwise undefined. */
  get trouble(): string | undefined {
    const full = this.#fullSince !== undefined || isFull(this.#path)
    // Readiness is public, so the reason contains no path.
    return full ? 'the disk of the state folder is full, so no job can be recorded' : undefined
  }

  /** Appends the admitted line. Throws MayflyError STATE on failure: no line, no run. */
  begin(job: Job, verdict: Verdict, plan: Plan): JobEntry {
    const { clock, owner } = this.#parts
    const salts = newSalts()
    const line = admittedLine(clock.date(), owner, salts, [job, verdict, plan])
    const { seq } = this.#noted(this.#write(() => this.store.append(line, salts)))
    const live: Live = { tenant: job.tenant, room: eventRoom() }
    this.#live.set(job.id, live)
    return {
      seq,
      end: (facts) => {
        const provider = plan.kind === 'run' ? plan.profile.provider : undefined
        const all = { ...facts, admitted: seq, provider, eventsDropped: live.room.dropped }
        const line = endedLine(clock.date(), salts, job, all)
        this.#live.delete(job.id)
        const ended = this.#write(() => this.store.end(line, seq), [seq, line])
        if (!ended) throw new Error(`Run "${job.id}" has ended already`)
        return placeOf(this.#noted(ended))
      },
    }
  }

  /** Appends an event line. Throws MayflyError STATE on failure. */
  append(event: Event, tenant: string | null = null): { seq: number; hash: string } {
    return placeOf(this.#noted(this.#write(() => this.store.append(eventLine(event, tenant)))))
  }

  /** Closes entries of dead processes as failed; returns their runs. */
  closeDead(then?: (closed: OpenLine) => void): readonly string[] {
    return this.store
      .open()
      .filter((line) => this.#isDead(line))
      .flatMap((line) => this.#close(line, then))
  }

  /** Syncs and signs. Undefined if nothing was unsigned or there is no signer. */
  checkpoint(): Promise<Checkpoint | undefined> {
    return this.#parts.sealer.seal()
  }

  head(): ChainHead {
    return this.store.head()
  }

  /** Store of bodies, opened on first use. */
  get bodies(): Bodies {
    this.#bodies ??= openBodies(this.#parts.stateFolder, { written: (bytes) => this.#kept(bytes) })
    return this.#bodies
  }

  /** Signs the rest and closes the files. Idempotent. */
  async close(): Promise<void> {
    this.#retry?.cancel()
    this.#tryEnds()
    this.#retry?.cancel()
    await this.#parts.sealer.close()
    this.store.close()
    if (this.#bodies) await sweepEnded(this.#bodies)
    await this.#bodiesThread?.close()
    this.#bodies?.close()
    const { stateFolder, clock } = this.#parts
    // A failed sweep is retried by the next process.
    if (!this.#bodies) await forgetUnattended(stateFolder, clock.date()).catch(() => undefined)
  }

  /** Writes bodies back on a thread, some megabytes at a time. */
  #kept(bytes: number): void {
    this.#keptBytes += bytes
    if (this.#keptBytes < writeBackBytes || this.#isWritingBack) return
    const { stateFolder, clock } = this.#parts
    this.#keptBytes = 0
    this.#isWritingBack = true
    this.#bodiesThread ??= new WriteBackThread(join(stateFolder, 'bodies.db'), clock)
    // SQLite writes it back itself once it is large.
    const done = this.#bodiesThread.writeBack().catch(() => undefined)
    void done.finally(() => (this.#isWritingBack = false))
  }

  /** Reports a full disk once, and its recovery once. `end`: the end of a run that is to be written as soon as that is possible. */
  #write<T>(work: () => T, end?: readonly [seq: number, line: Draft]): T {
    let done: T
    try {
      done = work()
    } catch (thrown) {
      if (!(thrown instanceof MayflyError)) throw thrown
      if (end && this.#unwritten.size < unwrittenMax) this.#unwritten.set(...end)
      if (thrown.code === 'DISK_FULL') this.#full(thrown)
      if (this.#unwritten.size > 0) this.#tryLater()
      throw thrown
    }
    if (this.#fullSince !== undefined) this.#recovered()
    else this.#tryEnds()
    return done
  }

  /** Writes the ends that were refused, if there are any, or tries again later. */
  #tryEnds(): void {
    try {
      this.#writeEnds()
    } catch {
      this.#tryLater()
    }
  }

  /** Throws the error of the first end that is refused again. */
  #writeEnds(): void {
    for (const [seq, end] of this.#unwritten) {
      const ended = this.store.end(end, seq)
      this.#unwritten.delete(seq)
      if (ended) this.#noted(ended)
    }
  }

  #full({ message }: MayflyError): void {
    if (this.#fullSince !== undefined) return
    const { clock, emitter } = this.#parts
    this.#fullSince = clock.date()
    emitter?.emit('record/full', { because: message })
    this.#tryLater()
  }

  /** A look at the disk costs little; a try to write waits for a lock of another process, in the event loop. */
  #tryLater(): void {
    this.#retry?.cancel()
    const ms = this.#fullSince === undefined ? endRetryMs : fullRetryMs
    this.#retry = this.#parts.clock.after(ms, () => {
      if (this.#fullSince === undefined) this.#tryEnds()
      else if (isFull(this.#path)) this.#tryLater()
      else this.#recovered()
    })
    this.#retry.unref?.()
  }

  /** Writing this line proves that there is room. */
  #recovered(): void {
    const { clock, emitter } = this.#parts
    const fields = { fullMs: clock.date() - (this.#fullSince ?? clock.date()) }
    const body = { point: 'record/recovered', actor: 'mayfly', trust: 'host', zone: 'main', fields }
    const line = { at: clock.date(), kind: 'event', run: null, tenant: null, status: null } as const
    try {
      this.#writeEnds()
      this.#noted(this.store.append(draft({ ...line, body })))
    } catch {
      this.#tryLater()
      return
    }
    this.#retry?.cancel()
    this.#fullSince = undefined
    emitter?.emit('record/recovered', fields)
  }

  #isDead(line: OpenLine): boolean {
    const owner = lineOwnerOf(line)
    return !owner || !this.#parts.isAlive(owner)
  }

  /** Returns nothing if another starting process closed it first. */
  #close(line: OpenLine, then?: (closed: OpenLine) => void): readonly string[] {
    const { clock, emitter } = this.#parts
    const closed = this.store.end(closedLine(clock.date(), line), line.seq)
    if (!closed) return []
    this.#noted(closed)
    then?.(line)
    emitter?.emit('record/closed', { admitted: line.seq, seq: closed.seq }, { run: line.run })
    return [line.run ?? '']
  }

  #take(event: Event): void {
    if (!recordedPoints.has(event.point)) return
    const live = event.run === null ? undefined : this.#live.get(event.run)
    if (!this.#hasRoom(event, live)) return
    try {
      this.append(event, live?.tenant ?? null)
    } catch {
      this.lost += 1
    }
  }

  #hasRoom(event: Event, live: Live | undefined): boolean {
    if (live) return live.room.has(event)
    const window = event.run === null ? this.#windows.outside : this.#windows.late
    const now = this.#parts.clock.now()
    if (now - window.since >= windowMs) Object.assign(window, { since: now, room: eventRoom() })
    return window.room.has(event)
  }

  #noted(line: AppendedLine): AppendedLine {
    this.#parts.sealer.note(line)
    return line
  }
}

export interface RecordOptions {
  readonly stateFolder: string
  readonly clock: Clock
  readonly signer?: CheckpointSigner | undefined
  readonly emitter?: Emitter | undefined
  readonly owner?: Owner
  /** Liveness check of another process; default: asks the kernel. */
  readonly isAlive?: (owner: Owner) => boolean
}

/**
 * Points that get an audit line of their own besides jobs. Excludes `threat/audited`, `config/overridden` and
 * `shadow/compared`: their emitters append the line themselves, because the operation depends on it.
 */
export const recordedPoints: ReadonlySet<Point> = new Set<Point>([
  'threat/unparsed',
  'tier/unavailable',
  'tier/lost',
  'control/unenforced',
  'capability/denied',
  'name/refused',
  'limit/hit',
  'anomaly/found',
  'capability/misdeclared',
  'cache/hit',
  'output/refused',
  'evidence/missing',
  'door/refused',
  'server/started',
  'server/stopped',
  'warden/lost',
  'warden/swept',
  'sentinel/lost',
  'sentinel/returned',
  'signer/trusted',
  'signer/revoked',
  'access/created',
  'access/revoked',
])

/** Window for the same limits on events without a run that lives. */
const windowMs = 1000
/** Retry interval on a full disk, and of an end that was refused for another reason. */
const fullRetryMs = 1000
const endRetryMs = 30_000
/** More ends than run at once; of further ones the next start closes the entries. */
const unwrittenMax = 1_000

/** Opens the audit log, created on first use. Throws MayflyError STATE with a hint. */
export function openRecord(options: RecordOptions): AuditRecord {
  const owner = options.owner ?? thisOwner()
  const alive = options.isAlive ?? isOwnerAlive
  const path = join(options.stateFolder, 'audit.db')
  const store = openStore(path, options.clock.date())
  const filler = new Filler({ store, path, clock: options.clock })
  const sealer = new Sealer({ ...options, store, filler, path, owner, isAlive: alive })
  return new AuditRecord({ ...options, owner, isAlive: alive, store, sealer })
}

interface Parts extends RecordOptions {
  readonly owner: Owner
  readonly isAlive: (owner: Owner) => boolean
  readonly store: AuditStore
  readonly sealer: Sealer
}

interface Live {
  readonly tenant: string
  readonly room: EventRoom
}

interface EventWindow {
  since: number
  room: EventRoom
}

function newWindow(): EventWindow {
  return { since: -Infinity, room: eventRoom() }
}

function placeOf(line: AppendedLine): { seq: number; hash: string } {
  return { seq: line.seq, hash: line.hash }
}
