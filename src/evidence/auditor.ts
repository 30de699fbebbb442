import type { Audit, Checkpoint } from '../contract/evidence.ts'
import { chainStart } from '../lib/hash-chain.ts'
import { whyNotNext, type ChainHead, type StoredLine } from './chain.ts'
import { whyNotSigned } from './sign.ts'

/** Log as a stream: lines in sequence order, each checkpoint after the line it signs. */
export type LogItem =
  | { readonly kind: 'line'; readonly line: StoredLine }
  | { readonly kind: 'checkpoint'; readonly checkpoint: Checkpoint }

/** Facts known from outside the log; each makes the audit stricter. */
export interface TrustAnchor {
  /** Base64 of the raw public key that must have signed the checkpoints; a log without one fails then. */
  readonly key?: string | undefined
  /** Last head the signer signed: the log must reach it. */
  readonly signed?: ChainHead | undefined
  /** True if no line may follow the last signed one. */
  readonly endsSigned?: boolean | undefined
}

/** Header of an exported file. */
export interface ExportHeader {
  readonly lines: number
  readonly head: string
  readonly checkpoints: number
  readonly key: string | null
}

/** The first bad line, and why. */
export interface BadLine {
  readonly seq: number
  readonly why: string
}

/** Verifies each line against its predecessor, and each checkpoint against its line, key and signature. */
export class Auditor {
  head: ChainHead
  readonly #known: TrustAnchor
  #key: string | undefined
  #checkpoints = 0
  /** Last line covered by a checkpoint. */
  #signed: number
  #meetsSigned = false
  #expected: ExportHeader | undefined
  #firstBad: BadLine | undefined

  /** `start`: the line before the first one. */
  constructor(known: TrustAnchor, start: ChainHead = { seq: 0, head: chainStart }) {
    this.#known = known
    this.#key = known.key
    this.head = start
    this.#signed = start.seq
  }

  /** Sets the header to be compared at the end of the export. */
  expect(header: ExportHeader): void {
    this.#expected = header
  }

  fail(seq: number, why: string): void {
    this.#firstBad ??= { seq: Math.max(1, seq), why }
  }

  takeAll(items: Iterable<LogItem>): void {
    for (const item of items) if (this.take(item)) return
    this.#end()
  }

  /** Returns the first bad line so far. */
  take(item: LogItem): BadLine | undefined {
    if (item.kind === 'line') this.#line(item.line)
    else this.#checkpoint(item.checkpoint)
    return this.#firstBad
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

  /** Names the first line that may be affected; only the original lines could tell which one was. */
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
    if (this.#known.key !== undefined && this.#checkpoints === 0 && !this.#meetsSigned)
      return this.fail(1, 'no line is signed with the key that must have signed them')
    const signedTo = Math.max(this.#signed, this.#meetsSigned && signed ? signed.seq : 0)
    if (this.#known.endsSigned && signedTo < this.head.seq)
      return this.fail(signedTo + 1, 'no checkpoint covers the lines from here on')
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
