import { close, fdatasync, openSync } from 'node:fs'
import { promisify } from 'node:util'
import type { Clock, Timer } from '../contract/clock.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Checkpoint } from '../contract/evidence.ts'
import type { Emitter } from '../contract/event.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { chainStart, chainStep } from '../lib/hash-chain.ts'
import { digestOf, type Head } from './chain.ts'
import type { Owner } from '../lib/owner.ts'
import { stateError } from './state-error.ts'
import type { Appended, Store } from './store.ts'
import { parseJson } from '../lib/parse-json.ts'

/**
 * Syncs the log and has it signed, soon after a line was appended and at the end. The sync goes through a
 * descriptor of its own on the WAL, in libuv's threads, so that no job waits for a disk; only what is on the disk
 * is signed, so a checkpoint never speaks of a line that a power cut could take.
 */
export interface Sealer {
  /** A line was appended here: a checkpoint is due within `sealAfterMs`. */
  note(line: Appended): void
  /** Does it now. One at a time; a call while one runs waits for that and then for one more. */
  seal(): Promise<Checkpoint | undefined>
  close(): Promise<void>
}

/** The warden's half. It is given digests of lines `from.seq + 1` and on, and chains them itself. */
export interface CheckpointSigner {
  checkpoint(digests: readonly string[], from: Head): Promise<Checkpoint>
}

export interface SealerOptions {
  readonly store: Store
  readonly path: string
  readonly clock: Clock
  readonly owner: Owner
  readonly isAlive: (owner: Owner) => boolean
  readonly signer?: CheckpointSigner | undefined
  readonly voice?: Emitter | undefined
}

/** From the first unsigned line to the start of its checkpoint; sync and signature have the rest of a second. */
export const sealAfterMs = 500
/** Lines in one request to the signer. Never lowered: after a crash the signer may be this far ahead. */
const batchMax = 4096
/** Digests kept to save reading lines back. */
const digestsMax = 65_536
/** How long a holder of the signing lock may be silent before another takes over. */
const lockMs = 5000
const answerMs = 5000
const retriesMax = 5
/** Appends between two times that the WAL is written back: some 25 MB. */
const writeBackAfter = 2000

export function createSealer(options: SealerOptions): Sealer {
  return new TimedSealer(options)
}

class TimedSealer implements Sealer {
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

  note(line: Appended): void {
    this.#appended += 1
    this.#noted = line.seq
    if (this.#options.signer && this.#digests.size < digestsMax)
      this.#digests.set(line.seq, line.digest)
    if (this.#appended === writeBackAfter) this.#cancel()
    this.#schedule(this.#appended < writeBackAfter ? sealAfterMs : 0)
  }

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
    await this.seal().catch((thrown: unknown) => this.#unsigned(thrown))
    this.#cancel()
    if (this.#wal !== undefined) await promisify(close)(this.#wal)
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

  /** A warden that comes back signs what it missed; one that refuses is asked with the next line again. */
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
    const { store, signer } = this.#options
    const head = store.head()
    await this.#sync()
    if (this.#appended >= writeBackAfter || this.#closed) this.#writeBack()
    return signer && this.#signUpTo(head, signer)
  }

  /** Quick, since the WAL was synced a moment ago; and done whether or not somebody signs. */
  #writeBack(): void {
    this.#appended = 0
    this.#options.store.writeBack()
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

  /** Leaves it to whoever holds the signing lock, and looks again until this process's lines are signed. */
  async #signUpTo(head: Head, signer: CheckpointSigner): Promise<Checkpoint | undefined> {
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

  async #signBatches(head: Head, signer: CheckpointSigner): Promise<Checkpoint | undefined> {
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
    const { store, voice } = this.#options
    const from: Head = last ?? { seq: 0, head: chainStart }
    const digests = this.#digestsOf(from.seq, upTo)
    this.#assertChained(from, digests, upTo)
    const checkpoint = await this.#inTime(
      signer.checkpoint(digests, { seq: from.seq, head: from.head }),
    )
    if (checkpoint.seq !== from.seq + digests.length)
      throw new MayflyError('PROTOCOL', `Cannot keep a checkpoint of line "${checkpoint.seq}"`)
    store.addCheckpoint(checkpoint)
    voice?.say('record/checkpoint', { seq: checkpoint.seq, lines: digests.length })
    return checkpoint
  }

  /** What does not chain is not sent to be signed: the signer would remember it for ever. */
  #assertChained(from: Head, digests: readonly string[], upTo: number): void {
    const [line] = this.#options.store.lines(upTo - 1, upTo)
    if (line?.hash === digests.reduce(chainStep, from.head)) return
    throw new MayflyError('STATE', `Cannot sign line "${upTo}": the log was changed`, {
      hint: 'Run "mayfly audit verify" to see where.',
    })
  }

  /** From memory where this process wrote all of them; else from the lines themselves. */
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

  /** The lines stand; what is missing is the proof of them, so somebody has to hear of it. */
  #unsigned(thrown: unknown): void {
    this.#options.voice?.say('record/unsigned', { lines: this.#noted, why: messageOf(thrown) })
  }
}
