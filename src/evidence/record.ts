import { join } from 'node:path'
import type { Clock, Timer } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'
import type { Checkpoint } from '../contract/evidence.ts'
import type { Event, Point, Sink, Emitter } from '../contract/event.ts'
import type { Job } from '../contract/job.ts'
import type { Admission, Plan } from '../contract/pipeline.ts'
import type { Verdict } from '../contract/verdict.ts'
import { openBodies, type Bodies } from './bodies.ts'
import { draft, type Head } from './chain.ts'
import { createSealer, type CheckpointSigner, type Sealer } from './checkpoint.ts'
import { newSalts } from './commit.ts'
import { admittedLine, closedLine, endedLine, eventLine, ownerOf } from './lines.ts'
import { isAlive, thisOwner, type Owner } from '../lib/owner.ts'
import { isFull } from './state-error.ts'
import { openStore, type Appended, type OpenLine, type Store } from './store.ts'

/** The record of one state folder, as one process writes it. */
export interface AuditRecord {
  /** Writes the admitted line. Throws MayflyError STATE when it cannot: no record, no run. */
  admit(job: Job, verdict: Verdict, plan: Plan): Admission
  /** Writes an event as a line. Throws MayflyError STATE when it cannot. */
  append(event: Event, tenant?: string | null): { readonly seq: number; readonly hash: string }
  /** Takes the events worth a line (`recordedPoints`), at most `eventsPerRunMax` of a run; counts what it drops. */
  readonly sink: Sink
  /** Events that the sink could not write. */
  readonly lost: number
  /** Why no line can be written now; undefined where one can. */
  readonly trouble: string | undefined
  /** Closes, as failed, the admissions of processes that are gone; returns their runs. */
  closeDead(then?: (closed: OpenLine) => void): readonly string[]
  /** Syncs and signs what is there. Undefined when there was nothing to sign, or nobody who may. */
  checkpoint(): Promise<Checkpoint | undefined>
  head(): Head
  readonly store: Store
  /** Where bodies are kept, if any are: opened when first asked for. */
  readonly bodies: Bodies
  /** Signs the rest and closes the file. Idempotent. */
  close(): Promise<void>
}

export interface RecordOptions {
  readonly stateFolder: string
  readonly clock: Clock
  readonly signer?: CheckpointSigner | undefined
  readonly voice?: Emitter | undefined
  readonly owner?: Owner
  /** Who answers whether another process lives; asked of the system unless given. */
  readonly isAlive?: (owner: Owner) => boolean
}

/**
 * What has a line of its own, beside jobs: what somebody may have to answer for later. Not `threat/audited`,
 * `config/overridden` and `shadow/compared`: whoever says those has appended the line already, since nothing goes on
 * without it.
 */
export const recordedPoints: ReadonlySet<Point> = new Set<Point>([
  'threat/unparsed',
  'tier/unavailable',
  'tier/lost',
  'control/unenforced',
  'capability/denied',
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

/** Lines that events of one run may take; a guest that knocks for ever fills no disk. */
export const eventsPerRunMax = 100
/** The same for events of no run, in a window of `windowMs`. */
const windowMs = 1000
/** A disk that is full is tried again this often. */
const fullRetryMs = 1000

/** Opens the record; makes it on first use. Throws MayflyError STATE with a hint when it cannot be used. */
export function openRecord(options: RecordOptions): AuditRecord {
  const owner = options.owner ?? thisOwner()
  const alive = options.isAlive ?? isAlive
  const path = join(options.stateFolder, 'audit.db')
  const store = openStore(path, options.clock.date())
  const sealer = createSealer({ ...options, store, path, owner, isAlive: alive })
  return new OpenRecord({ ...options, owner, isAlive: alive, store, sealer })
}

interface Parts extends RecordOptions {
  readonly owner: Owner
  readonly isAlive: (owner: Owner) => boolean
  readonly store: Store
  readonly sealer: Sealer
}

interface Live {
  readonly tenant: string
  events: number
  dropped: number
}

class OpenRecord implements AuditRecord {
  readonly store: Store
  readonly sink: Sink = (event) => this.#take(event)
  lost = 0
  readonly #parts: Parts
  /** One entry for each job between its two lines. */
  readonly #live = new Map<string, Live>()
  #bodies: Bodies | undefined
  #window = { since: -Infinity, events: 0 }
  /** Since when the disk is full. */
  #fullSince: number | undefined
  #retry: Timer | undefined
  readonly #path: string

  constructor(parts: Parts) {
    this.#parts = parts
    this.store = parts.store
    this.#path = join(parts.stateFolder, 'audit.db')
  }

  get trouble(): string | undefined {
    const full = this.#fullSince !== undefined || isFull(this.#path)
    // Whoever asks whether this server is ready has shown no key: no path.
    return full ? 'the disk of the state folder is full, so no job can be recorded' : undefined
  }

  admit(job: Job, verdict: Verdict, plan: Plan): Admission {
    const { clock, owner } = this.#parts
    const salts = newSalts()
    const line = admittedLine(clock.date(), owner, salts, [job, verdict, plan])
    const { seq } = this.#noted(this.#write(() => this.store.append(line, salts)))
    const live: Live = { tenant: job.tenant, events: 0, dropped: 0 }
    this.#live.set(job.id, live)
    return {
      seq,
      end: (facts) => {
        const all = { ...facts, admitted: seq, eventsDropped: live.dropped }
        const line = endedLine(clock.date(), salts, job, all)
        const ended = this.#write(() => this.store.end(line, seq))
        this.#live.delete(job.id)
        if (!ended) throw new Error(`Run "${job.id}" has ended already`)
        return placeOf(this.#noted(ended))
      },
    }
  }

  append(event: Event, tenant: string | null = null): { seq: number; hash: string } {
    return placeOf(this.#noted(this.#write(() => this.store.append(eventLine(event, tenant)))))
  }

  closeDead(then?: (closed: OpenLine) => void): readonly string[] {
    return this.store
      .open()
      .filter((line) => this.#isDead(line))
      .flatMap((line) => this.#close(line, then))
  }

  checkpoint(): Promise<Checkpoint | undefined> {
    return this.#parts.sealer.seal()
  }

  head(): Head {
    return this.store.head()
  }

  get bodies(): Bodies {
    this.#bodies ??= openBodies(this.#parts.stateFolder)
    return this.#bodies
  }

  async close(): Promise<void> {
    this.#retry?.cancel()
    await this.#parts.sealer.close()
    this.store.close()
    this.#bodies?.close()
  }

  /** A disk that is full is told of once, and once more when there is room again. */
  #write<T>(work: () => T): T {
    try {
      const done = work()
      if (this.#fullSince !== undefined) this.#recovered()
      return done
    } catch (thrown) {
      if (thrown instanceof MayflyError && thrown.code === 'DISK_FULL') this.#full(thrown)
      throw thrown
    }
  }

  #full({ message }: MayflyError): void {
    if (this.#fullSince !== undefined) return
    const { clock, voice } = this.#parts
    this.#fullSince = clock.date()
    voice?.say('record/full', { because: message })
    this.#tryLater()
  }

  #tryLater(): void {
    this.#retry = this.#parts.clock.after(fullRetryMs, () => {
      if (this.#fullSince === undefined) return
      if (isFull(this.#path)) this.#tryLater()
      else this.#recovered()
    })
    this.#retry.unref?.()
  }

  /** The line is what shows that there is room. */
  #recovered(): void {
    const { clock, voice } = this.#parts
    const fields = { fullMs: clock.date() - (this.#fullSince ?? clock.date()) }
    const body = { point: 'record/recovered', actor: 'mayfly', trust: 'host', zone: 'main', fields }
    const line = { at: clock.date(), kind: 'event', run: null, tenant: null, status: null } as const
    try {
      this.#noted(this.store.append(draft({ ...line, body })))
    } catch {
      this.#tryLater()
      return
    }
    this.#retry?.cancel()
    this.#fullSince = undefined
    voice?.say('record/recovered', fields)
  }

  #isDead(line: OpenLine): boolean {
    const owner = ownerOf(line)
    return !owner || !this.#parts.isAlive(owner)
  }

  /** Nothing when another process that starts now was first. */
  #close(line: OpenLine, then?: (closed: OpenLine) => void): readonly string[] {
    const { clock, voice } = this.#parts
    const closed = this.store.end(closedLine(clock.date(), line), line.seq)
    if (!closed) return []
    this.#noted(closed)
    then?.(line)
    voice?.say('record/closed', { admitted: line.seq, seq: closed.seq }, { run: line.run })
    return [line.run ?? '']
  }

  #take(event: Event): void {
    if (!recordedPoints.has(event.point)) return
    const live = event.run === null ? undefined : this.#live.get(event.run)
    if (!this.#hasRoom(live)) return
    try {
      this.append(event, live?.tenant ?? null)
    } catch {
      this.lost += 1
    }
  }

  #hasRoom(live: Live | undefined): boolean {
    if (live) {
      if (live.events < eventsPerRunMax) return ++live.events > 0
      live.dropped += 1
      return false
    }
    const now = this.#parts.clock.now()
    if (now - this.#window.since >= windowMs) this.#window = { since: now, events: 0 }
    return ++this.#window.events <= eventsPerRunMax
  }

  #noted(line: Appended): Appended {
    this.#parts.sealer.note(line)
    return line
  }
}

function placeOf(line: Appended): { seq: number; hash: string } {
  return { seq: line.seq, hash: line.hash }
}
