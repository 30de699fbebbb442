import type { ZoneRule } from '../../contract/zone-rules.ts'

/** Names of the zones of a wall: instances of two kinds may get the same name, and a kind may be called `main`. */
export class ZoneNames {
  readonly #counts = new Map<string, number>()
  readonly #names = new Set(['main'])

  next({ kind }: Pick<ZoneRule, 'kind'>): string {
    const count = (this.#counts.get(kind) ?? 0) + 1
    this.#counts.set(kind, count)
    const name = count === 1 ? kind : `${kind.slice(0, 56)}.${count}`
    if (this.#names.has(name)) return this.next({ kind })
    this.#names.add(name)
    return name
  }
}
