import { MayflyError } from '../../contract/error.ts'
import { canonicalJson } from '../../lib/canonical-json.ts'
import { sha256 } from '../../lib/hash.ts'

/** Characters of the answers of one execution that are kept. */
const CHARACTERS_MAX = 4 * 2 ** 20

/** A call by its server, its tool and what it was given. */
export interface CallKey {
  readonly server: string
  readonly tool: string
  /** Digest of the arguments. */
  readonly args: string
}

type RecordedEnd =
  | { readonly kind: 'value'; readonly text: string }
  | { readonly kind: 'error'; readonly message: string }

/** A journal as plain data, by names of calls. */
export interface WrittenJournal {
  readonly ends: readonly (readonly [string, readonly RecordedEnd[]])[]
  readonly approvals: readonly (readonly [string, number])[]
}

/**
 * Answers of the calls of one execution, so that its code can run again without repeating them: after a person approved a
 * call, and for a replay.
 *
 * Calls are found by what they ask, and equal ones in order: answers may come in another order when code runs again, and
 * then it still gets the same ones. Code that asks for something else gets no recorded answer.
 */
export class CallJournal {
  readonly #ends: Map<string, RecordedEnd[]>
  /** Approvals of calls that were not made yet. */
  readonly #approvals: Map<string, number>
  /** Recorded answers that this run has taken, by call. */
  #taken = new Map<string, number>()
  #characters = 0

  /** With `written`, goes on as a journal that was written had stood, at its beginning. */
  constructor(written: WrittenJournal = { ends: [], approvals: [] }) {
    this.#ends = new Map(written.ends.map(([name, ends]) => [name, [...ends]]))
    this.#approvals = new Map(written.approvals)
    for (const end of [...this.#ends.values()].flat()) this.#characters += charactersOf(end)
  }

  get written(): WrittenJournal {
    return { ends: [...this.#ends], approvals: [...this.#approvals] }
  }

  get characters(): number {
    return this.#characters
  }

  /** Before the code runs again. */
  rewind(): void {
    this.#taken = new Map()
  }

  /** The recorded end of a call; undefined for one that was not made. */
  take(key: CallKey): RecordedEnd | undefined {
    const name = nameOf(key)
    const at = this.#taken.get(name) ?? 0
    const end = this.#ends.get(name)?.[at]
    if (end) this.#taken.set(name, at + 1)
    return end
  }

  /** Records the end of a call that this run made. Throws MayflyError TOO_LARGE. */
  add(key: CallKey, end: RecordedEnd): void {
    this.#characters += charactersOf(end)
    if (this.#characters > CHARACTERS_MAX)
      throw new MayflyError('TOO_LARGE', 'Cannot take more answers in one execution')
    const name = nameOf(key)
    const ends = this.#ends.get(name) ?? []
    ends.push(end)
    this.#ends.set(name, ends)
    this.#taken.set(name, (this.#taken.get(name) ?? 0) + 1)
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
