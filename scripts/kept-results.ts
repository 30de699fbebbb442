import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Counts } from './counts.ts'

/**
 * Counts of the files that passed in a long run, by user, so that a run that was interrupted goes on. A file that
 * failed is not kept, and nothing is kept for another key.
 */
export class KeptResults {
  readonly #path: string
  readonly #key: string
  readonly #counts: Record<string, Counts>

  /** `key` names the tree and all else that decides about results. */
  constructor(path: string, key: string) {
    this.#path = path
    this.#key = key
    this.#counts = read(path, key)
  }

  get size(): number {
    return Object.keys(this.#counts).length
  }

  get(user: string, files: readonly string[]): Counts | undefined {
    return this.#counts[nameOf(user, files)]
  }

  put(user: string, files: readonly string[], { passed, failed, skipped }: Counts): void {
    if (failed > 0) return
    this.#counts[nameOf(user, files)] = { passed, failed, skipped }
    const text = JSON.stringify({ key: this.#key, counts: this.#counts })
    mkdirSync(dirname(this.#path), { recursive: true })
    writeFileSync(`${this.#path}.new`, text)
    renameSync(`${this.#path}.new`, this.#path)
  }

  clear(): void {
    rmSync(this.#path, { force: true })
  }
}

const nameOf = (user: string, files: readonly string[]) => [user, ...files].join(' ')

function read(path: string, key: string): Record<string, Counts> {
  try {
    const held = JSON.parse(readFileSync(path, 'utf8')) as Held
    return held.key === key ? held.counts : {}
  } catch {
    // The first run, or a file that was cut off.
    return {}
  }
}

interface Held {
  readonly key: string
  readonly counts: Record<string, Counts>
}
