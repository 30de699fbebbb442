import type { KeyPath } from './positions.ts'

/** A fault at a path of the configuration. */
export interface Fault {
  readonly path: KeyPath
  readonly message: string
}

export function fault(path: KeyPath, message: string): Fault {
  return { path, message }
}

/** A value that one part of the configuration has to itself. */
export interface OwnValue {
  readonly value: string
  readonly owner: string
  readonly path: KeyPath
}

/** A fault for each value that an earlier owner has. */
export function* duplicates(
  values: Iterable<OwnValue>,
  messageOf: (value: string, owner: string) => string,
): Generator<Fault> {
  const owners = new Map<string, string>()
  for (const { value, owner, path } of values) {
    const before = owners.get(value)
    if (before !== undefined) yield fault(path, messageOf(value, before))
    owners.set(value, owner)
  }
}
