import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Counts } from './counts.ts'

/**
 * Counts of the files that passed in a long run, by user, so that a run that was interrupted goes on. A file that
 * failed is not kept, and a result is used only under the key that it was kept with.
 */
export class KeptResults {
  readonly #path: string
  readonly #keyOf: (files: readonly string[]) => string
  readonly #kept: Record<string, Kept>

  /** `keyOf` names all that decides about the results of these files. */
  constructor(path: string, keyOf: (files: readonly string[]) => string) {
    this.#path = path
    this.#keyOf = keyOf
    this.#kept = read(path)
  }

  get(user: string, files: readonly string[]): Counts | undefined {
    const kept = this.#kept[nameOf(user, files)]
    return kept?.key === this.#keyOf(files) ? kept.counts : undefined
  }

  put(user: string, files: readonly string[], { passed, failed, skipped }: Counts): void {
    if (failed > 0) return
    const counts = { passed, failed, skipped }
    this.#kept[nameOf(user, files)] = { key: this.#keyOf(files), counts }
    mkdirSync(dirname(this.#path), { recursive: true })
    writeFileSync(`${this.#path}.new`, JSON.stringify(this.#kept))
    renameSync(`${this.#path}.new`, this.#path)
  }

  clear(): void {
    rmSync(this.#path, { force: true })
  }
}

const nameOf = (user: string, files: readonly string[]) => [user, ...files].join(' ')

function read(path: string): Record<string, Kept> {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Record<string, Kept>
  } catch {
    // The first run, or a file that was cut off.
    return {}
  }
}

interface Kept {
  readonly key: string
  readonly counts: Counts
}
