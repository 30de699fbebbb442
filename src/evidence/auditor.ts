import type { Audit, Checkpoint } from '../contract/evidence.ts'
import { chainStart } from '../lib/hash-chain.ts'
import { whyNotNext, type Head, type StoredLine } from './chain.ts'
import { whyNotSigned } from './sign.ts'

/** A log as a stream: lines in the order of their numbers, a checkpoint after the line it signs. */
export type Item =
  | { readonly kind: 'line'; readonly line: StoredLine }
  | { readonly kind: 'checkpoint'; readonly checkpoint: Checkpoint }

/** What the caller knows of a log from elsewhere; each makes an audit stricter. */
export interface Known {
  /** Base64 of the raw public key that checkpoints have to be signed with. */
  readonly key?: string | undefined
  /** What the signer signed last: the log has to reach it. */
  readonly signed?: Head | undefined
}

/** What an exported file says of itself. */
export interface Expected {
  readonly lines: number
  readonly head: string
  readonly checkpoints: number
  readonly key: string | null
}

/** Checks every line against the one before it and every checkpoint against its line, key and signature. */
export class Auditor {
  head: Head = { seq: 0, head: chainStart }
  readonly #known: Known
  #key: string | undefined
  #checkpoints = 0
  /** The last line that a checkpoint vouches for. */
  #signed = 0
  #meetsSigned = false
  #expected: Expected | undefined
  #firstBad: { seq: number; why: string } | undefined

  constructor(known: Known) {
    this.#known = known
    this.#key = known.key
  }

  /** What an exported file says of itself, to be met at its end. */
  expect(header: Expected): void {
    this.#expected = header
  }

  fail(seq: number, why: string): void {
    this.#firstBad ??= { seq: Math.max(1, seq), why }
  }

  takeAll(items: Iterable<Item>): void {
    for (const item of items) {
      if (item.kind === 'line') this.#line(item.line)
      else this.#checkpoint(item.checkpoint)
      if (this.#firstBad) return
    }
    this.#end()
  }

  result(): Audit {
    const counts = {
      lines: this.head.seq,
      checkpoints: this.#checkpoints,
      unsigned: this.head.seq - this.#signed,
    }
    if (this.#firstBad) return { ok: false, ...counts, firstBad: this.#firstBad }
    return { ok: true, ...counts }
  }

  #line(line: StoredLine): void {
    const why = whyNotNext(this.head, line)
    if (why) return this.fail(this.head.seq + 1, why)
    this.head = { seq: line.seq, head: line.hash }
    const { signed } = this.#known
    if (signed?.seq !== line.seq) return
    if (signed.head !== line.hash) this.#rewritten()
    else this.#meetsSigned = true
  }

  #checkpoint(checkpoint: Checkpoint): void {
    const { seq, head, key } = checkpoint
    const at = Math.min(seq, this.head.seq)
    this.#key ??= key
    if (key !== this.#key) return this.fail(at, 'its checkpoint is signed with another key')
    const why = whyNotSigned(checkpoint)
    if (why) return this.fail(at, `its checkpoint proves nothing: ${why}`)
    if (seq > this.head.seq) return this.fail(this.head.seq + 1, `lines up to ${seq} were signed`)
    if (seq < this.head.seq || seq === this.#signed)
      return this.fail(at, 'its checkpoint is out of order')
    if (head !== this.head.head) return this.#rewritten()
    this.#checkpoints += 1
    this.#signed = seq
  }

  /** Which line it was, only the old ones could tell; the first that may be it is the one to name. */
  #rewritten(): void {
    this.fail(
      this.#signed + 1,
      `lines ${this.#signed + 1} to ${this.head.seq} are not what was signed`,
    )
  }

  #end(): void {
    const next = this.head.seq + 1
    if (this.head.seq === 0) return this.fail(1, 'the genesis line is missing')
    const { signed } = this.#known
    if (signed && signed.seq > 0 && !this.#meetsSigned)
      return this.fail(next, `lines up to ${signed.seq} were signed`)
    const expected = this.#expected
    if (!expected) return
    if (expected.lines !== this.head.seq)
      return this.fail(next, `${expected.lines} lines were exported`)
    if (expected.head !== this.head.head)
      return this.fail(this.head.seq, 'it is not the head exported')
    if (expected.checkpoints !== this.#checkpoints)
      return this.fail(1, `${expected.checkpoints} checkpoints were exported with these lines`)
    if (expected.key !== (this.#checkpoints > 0 ? this.#key : null))
      this.fail(1, 'the public key exported is not that of its checkpoints')
  }
}
