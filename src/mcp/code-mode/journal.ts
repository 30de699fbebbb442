import { canonicalJson } from '../../lib/canonical-json.ts'
import { sha256 } from '../../lib/hash.ts'

/** Maximum characters of recorded answers in one execution. */
const CHARACTERS_MAX = 4 * 2 ** 20
const overMessage = 'Cannot record more answers in one execution'

/** Key of a call: server, tool and arguments. */
export interface CallKey {
  readonly server: string
  readonly tool: string
  /** Digest of the arguments. */
  readonly args: string
}

export type RecordedEnd =
  | { readonly kind: 'value'; readonly text: string }
  | { readonly kind: 'error'; readonly message: string }

/** Serialised journal, by keys of calls. */
export interface WrittenJournal {
  readonly ends: readonly (readonly [string, readonly RecordedEnd[]])[]
  readonly approvals: readonly (readonly [string, number])[]
  readonly isFull?: boolean
}

/**
 * Recorded answers of the calls of one execution, so that its code can run again without repeating them: after a person approved a
 * call, and for a replay.
 *
 * Answers are found by key, and for equal keys in order: calls may complete in another order when code runs again, and
 * still get the same answers. A call with another key gets no recorded answer.
 */
export class CallJournal {
  readonly #ends: Map<string, RecordedEnd[]>
  /** Unused approvals, by call. */
  readonly #approvals: Map<string, number>
  /** Number of recorded answers that this run has used, by call. */
  #used = new Map<string, number>()
  #characters = 0
  #isFull: boolean

  /** `written` restores a serialised journal, rewound. */
  constructor(written: WrittenJournal = { ends: [], approvals: [] }) {
    this.#isFull = written.isFull === true
    this.#ends = new Map(written.ends.map(([name, ends]) => [name, [...ends]]))
    this.#approvals = new Map(written.approvals)
    for (const end of [...this.#ends.values()].flat()) this.#characters += charactersOf(end)
  }

  get written(): WrittenJournal {
    const full = this.#isFull ? { isFull: true } : {}
    return { ends: [...this.#ends], approvals: [...this.#approvals], ...full }
  }

  /** True once an answer did not fit. */
  get isFull(): boolean {
    return this.#isFull
  }

  get characters(): number {
    return this.#characters
  }

  /** Starts again at the first answers, before the code runs again. */
  rewind(): void {
    this.#used = new Map()
  }

  /** Next recorded result of a call; undefined if there is none. */
  take(key: CallKey): RecordedEnd | undefined {
    const name = nameOf(key)
    const at = this.#used.get(name) ?? 0
    const end = this.#ends.get(name)?.[at]
    if (end) this.#used.set(name, at + 1)
    return end
  }

  /**
   * Records the result of a call of this run, and returns what was recorded: of an answer that does not fit an error, so
   * that a second run does not repeat its call.
   */
  add(key: CallKey, end: RecordedEnd): RecordedEnd {
    const isOver = this.#characters + charactersOf(end) > CHARACTERS_MAX
    if (isOver) this.#isFull = true
    const kept: RecordedEnd =
      isOver && end.kind === 'value' ? { kind: 'error', message: overMessage } : end
    this.#characters += charactersOf(kept)
    const name = nameOf(key)
    const ends = this.#ends.get(name) ?? []
    ends.push(kept)
    this.#ends.set(name, ends)
    this.#used.set(name, (this.#used.get(name) ?? 0) + 1)
    return kept
  }

  approve(key: CallKey): void {
    const name = nameOf(key)
    this.#approvals.set(name, (this.#approvals.get(name) ?? 0) + 1)
  }

  /** Uses one approval of exactly this call. */
  useApproval(key: CallKey): boolean {
    const name = nameOf(key)
    const left = this.#approvals.get(name) ?? 0
    if (left === 0) return false
    this.#approvals.set(name, left - 1)
    return true
  }
}

export function callKey(server: string, tool: string, args: unknown): CallKey {
  return { server, tool, args: sha256(canonicalJson(args)) }
}

const charactersOf = (end: RecordedEnd) =>
  end.kind === 'value' ? end.text.length : end.message.length

function nameOf({ server, tool, args }: CallKey): string {
  return JSON.stringify([server, tool, args])
}
