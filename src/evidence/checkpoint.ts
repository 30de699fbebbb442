import { close, fdatasync, openSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Clock, Timer } from '../contract/clock.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Checkpoint } from '../contract/evidence.ts'
import type { Emitter } from '../contract/event.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { chainStart, chainStep } from '../lib/hash-chain.ts'
import { digestOf, type AppendedLine, type ChainHead } from './chain.ts'
import type { Filler } from './filler.ts'
import type { Owner } from '../lib/owner.ts'
import { stateError } from './state-error.ts'
import type { AuditStore } from './store.ts'
import { parseJson } from '../lib/parse-json.ts'

/**
 * Syncs the log and gets it signed, soon after an append and at close.
 *
 * Mechanism: the journal's lines are copied into the database, and the WAL is synced with fdatasync on a separate fd in
 * libuv's thread pool, so no job waits for the disk; then the journal drops them and the warden signs. Only synced lines are
 * signed, so a checkpoint never covers a line that a power cut could lose.
 *
 * Relies on: a lock row, so that one process per state folder signs at a time; a dead or silent holder is replaced.
 * Without an answer from the signer lines stay unsigned, with an event; the next append retries.
 */
export class Sealer {
  readonly #options: SealerOptions
  readonly #holder: string
  readonly #digests = new Map<number, string>()
  #wal: number | undefined
  #timer: Timer | undefined
  #running: Promise<Checkpoint | undefined> | undefined
  #appended = 0
  #noted = 0
  #failures = 0
  #closed = false

  constructor(options: SealerOptions) {
    this.#options = options
    this.#holder = canonicalJson(options.owner)
  }

  /** Call after an append: a checkpoint follows within `sealAfterMs`. */
  note(line: AppendedLine): void {
    this.#appended += 1
    this.#noted = line.seq
    this.#options.filler.note(line.seq)
    if (this.#options.signer && this.#digests.size < digestsMax)
      this.#digests.set(line.seq, line.digest)
    if (this.#appended === writeBackAfter) this.#cancel()
    this.#schedule(this.#appended < writeBackAfter ? sealAfterMs : 0)
  }

  /** Signs now. Serialised: a call during another waits for it, then signs once more. */
  async seal(): Promise<Checkpoint | undefined> {
    while (this.#running) await this.#running.catch(() => undefined)
    this.#cancel()
    this.#running = this.#sealOnce()
    try {
      return await this.#running
    } finally {
      this.#running = undefined
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#options.filler.closing()
    await this.#sealLast().catch((thrown: unknown) => this.#unsigned(thrown))
    this.#cancel()
    await this.#options.filler.close()
    if (this.#wal !== undefined) await promisify(close)(this.#wal)
  }

  /** Waits for another process that signs now, which may not know of the last lines of this one. */
  async #sealLast(): Promise<void> {
    const { signer, store } = this.#options
    const until = performance.now() + 2 * lockMs
    for (;;) {
      await this.seal()
      if (!signer || (store.lastCheckpoint()?.seq ?? 0) >= this.#noted) return
      if (performance.now() > until) throw new Error('another process was signing')
      await pause(lockLookMs)
    }
  }

  #schedule(ms = sealAfterMs): void {
    if (this.#timer || this.#closed) return
    this.#timer = this.#options.clock.after(ms, () => {
      this.#timer = undefined
      this.seal().then(
        () => (this.#failures = 0),
        (thrown: unknown) => this.#retry(thrown),
      )
    })
    this.#timer.unref?.()
  }

  /** Retries with exponential back-off; after `retriesMax` the next append tries again. */
  #retry(thrown: unknown): void {
    this.#unsigned(thrown)
    this.#failures += 1
    if (this.#failures <= retriesMax) this.#schedule(sealAfterMs * 2 ** this.#failures)
  }

  #cancel(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  async #sealOnce(): Promise<Checkpoint | undefined> {
    const { store, filler, signer } = this.#options
    const head = store.head()
    const isDue = this.#appended >= writeBackAfter || this.#closed
    // Before the first await: appends during it request the next checkpoint.
    if (isDue) this.#appended = 0
    await filler.fill(head.seq)
    await this.#sync()
    store.drop(head)
    if (isDue) await filler.writeBack()
    return signer && this.#signUpTo(head, signer)
  }

  async #sync(): Promise<void> {
    const wal = `${this.#options.path}-wal`
    try {
      this.#wal ??= openSync(wal, 'r+')
      await promisify(fdatasync)(this.#wal)
    } catch (thrown) {
      throw stateError('sync', wal, thrown)
    }
  }

  /** Skips if another process holds the signing lock, and checks again until this process's lines are signed. */
  async #signUpTo(head: ChainHead, signer: CheckpointSigner): Promise<Checkpoint | undefined> {
    const { store, clock, isAlive } = this.#options
    const signed = store.lastCheckpoint()?.seq ?? 0
    this.#forgetDigests(signed)
    if (signed >= head.seq) return undefined
    const isGone = (holder: string): boolean => !isAlive(parseJson(holder) as Owner)
    const now = clock.date()
    if (!store.lock(this.#holder, now, now + lockMs, isGone)) {
      this.#schedule()
      return undefined
    }
    try {
      return await this.#signBatches(head, signer)
    } finally {
      store.unlock(this.#holder)
    }
  }

  async #signBatches(head: ChainHead, signer: CheckpointSigner): Promise<Checkpoint | undefined> {
    let last = this.#options.store.lastCheckpoint()
    for (let seq = last?.seq ?? 0; seq < head.seq; seq = last.seq) {
      last = await this.#signBatch(last, Math.min(head.seq, seq + batchMax), signer)
    }
    return last
  }

  async #signBatch(
    last: Checkpoint | undefined,
    upTo: number,
    signer: CheckpointSigner,
  ): Promise<Checkpoint> {
    const { store, emitter } = this.#options
    const from: ChainHead = last ?? { seq: 0, head: chainStart }
    const digests = this.#digestsOf(from.seq, upTo)
    this.#assertChained(from, digests, upTo)
    const checkpoint = await this.#inTime(
      signer.checkpoint(digests, { seq: from.seq, head: from.head }),
    )
    if (checkpoint.seq !== from.seq + digests.length)
      throw new MayflyError('PROTOCOL', `Cannot keep a checkpoint of line "${checkpoint.seq}"`)
    store.addCheckpoint(checkpoint)
    emitter?.emit('record/checkpoint', { seq: checkpoint.seq, lines: digests.length })
    return checkpoint
  }

  /** Verifies the chain before signing: the signer would remember a wrong head for ever. */
  #assertChained(from: ChainHead, digests: readonly string[], upTo: number): void {
    const [line] = this.#options.store.lines(upTo - 1, upTo)
    if (line?.hash === digests.reduce(chainStep, from.head)) return
    throw new MayflyError('STATE', `Cannot sign line "${upTo}": the log was changed`, {
      hint: 'Run "mayfly audit verify" to see where.',
    })
  }

  /** Takes digests from the cache if complete, otherwise from the stored lines. */
  #digestsOf(after: number, upTo: number): readonly string[] {
    const own: string[] = []
    for (let seq = after + 1; seq <= upTo; seq += 1) {
      const digest = this.#digests.get(seq)
      if (digest === undefined) break
      own.push(digest)
    }
    this.#forgetDigests(upTo)
    if (own.length === upTo - after) return own
    return Array.from(this.#options.store.lines(after, upTo), (line) => digestOf(line, line.seq))
  }

  #forgetDigests(upTo: number): void {
    for (const seq of this.#digests.keys()) if (seq <= upTo) this.#digests.delete(seq)
  }

  #inTime(answer: Promise<Checkpoint>): Promise<Checkpoint> {
    const { promise, resolve, reject } = Promise.withResolvers<Checkpoint>()
    const late = new MayflyError('WARDEN_LOST', 'The signer does not answer')
    const timer = this.#options.clock.after(answerMs, () => reject(late))
    answer.then(resolve, reject)
    return promise.finally(() => timer.cancel())
  }

  /** Lines are stored but unproven, so an event reports it. */
  #unsigned(thrown: unknown): void {
    this.#options.emitter?.emit('record/unsigned', { lines: this.#noted, why: messageOf(thrown) })
  }
}

/** Signer in the warden. Receives digests of lines from `from.seq + 1` and chains them itself. */
export interface CheckpointSigner {
  checkpoint(digests: readonly string[], from: ChainHead): Promise<Checkpoint>
}

export interface SealerOptions {
  readonly store: AuditStore
  readonly filler: Filler
  readonly path: string
  readonly clock: Clock
  readonly owner: Owner
  readonly isAlive: (owner: Owner) => boolean
  readonly signer?: CheckpointSigner | undefined
  readonly emitter?: Emitter | undefined
}

/** Delay from the first unsigned line to its checkpoint; sync and signature have the rest of a second. */
export const sealAfterMs = 500
/** Lines per request to the signer. Must never be lowered: after a crash the signer may be this far ahead. */
const batchMax = 4096
/** Digests cached to avoid rereading lines. */
const digestsMax = 65_536
/** Lease of the signing lock; a silent holder is replaced after it. */
const lockMs = 5000
const lockLookMs = 50
const answerMs = 5000
const retriesMax = 5
/** Appends between WAL write-backs (SQLite checkpoints). */
const writeBackAfter = 2000
