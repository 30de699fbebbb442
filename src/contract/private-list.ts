import * as z from 'zod'
import { parseJson } from '../lib/parse-json.ts'
import { changePrivate, readPrivate } from '../lib/private-file.ts'
import { MayflyError, messageOf } from './error.ts'

interface PrivateListParts<T> {
  /** Name of the list in the file. */
  readonly name: string
  readonly item: z.ZodType<T>
  readonly itemsMax: number
  /** Such as `the key store`. */
  readonly what: string
  /** Effect of a file that is moved away: `start with a new admin key`. */
  readonly without: string
}

/**
 * A list in a private JSON file of the state folder, `{ "format": 1, NAME: […] }`. Throws MayflyError STATE for an unreadable
 * or invalid file; rethrows a MayflyError of `work` without changing the file.
 */
export class PrivateList<T> {
  readonly #parts: PrivateListParts<T>

  constructor(parts: PrivateListParts<T>) {
    this.#parts = parts
  }

  /** Undefined if there is no file. */
  read(file: string): readonly T[] | undefined {
    try {
      return this.#parse(readPrivate(file))
    } catch (thrown) {
      throw this.#broken(file, thrown)
    }
  }

  /** Replaces the list while holding the lock of its file. */
  change<R>(
    file: string,
    work: (items: readonly T[] | undefined) => { readonly items: readonly T[]; readonly value: R },
  ): R {
    try {
      return changePrivate(file, (text) => {
        const { items, value } = work(this.#parse(text))
        const document = { format: 1, [this.#parts.name]: items }
        return { text: `${JSON.stringify(document, null, 2)}\n`, value }
      })
    } catch (thrown) {
      throw thrown instanceof MayflyError ? thrown : this.#broken(file, thrown)
    }
  }

  #parse(text: string | undefined): readonly T[] | undefined {
    if (text === undefined) return undefined
    const { name, item, itemsMax } = this.#parts
    const list = z.array(item).max(itemsMax)
    const read = z.strictObject({ format: z.literal(1), [name]: list }).parse(parseJson(text))
    return read[name] as readonly T[]
  }

  #broken(file: string, thrown: unknown): MayflyError {
    const { what, without } = this.#parts
    return new MayflyError('STATE', `Cannot use ${what}`, {
      hint: `Repair "${file}", or move it away to ${without}`,
      detail: messageOf(thrown),
      cause: thrown,
    })
  }
}
