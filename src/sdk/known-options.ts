import { MayflyError } from '../contract/error.ts'

/**
 * Refuses an option that there is not: a misspelt limit or tenant would be ignored otherwise, and its default hold. `known`
 * lists the options of a type. Throws MayflyError INVALID.
 */
export function assertKnownOptions<T extends object>(
  options: T,
  known: Readonly<Record<keyof T, true>>,
): void {
  const unknown = Object.keys(options).find((name) => !Object.hasOwn(known, name))
  if (unknown === undefined) return
  throw new MayflyError('INVALID', `Cannot use the option "${unknown}": there is no such option`, {
    hint: `Use ${Object.keys(known).join(', ')}`,
    details: { path: unknown },
  })
}
