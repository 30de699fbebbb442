import { MayflyError } from '../contract/error.ts'

/** Kinds of values, each as a message names it. Other options are checked where they are used: `true`. */
const kinds = {
  text: ['text', (value) => typeof value === 'string'],
  function: ['a function', isFunction],
  functions: ['an object of functions', isObject],
  object: ['an object', isObject],
  signal: ['an AbortSignal', (value) => value instanceof AbortSignal],
  sinks: ['a list of functions', (value) => isListOf(value, isFunction)],
  folders: ['a list of folders', (value) => isListOf(value, isPath)],
  providers: [
    'a list of providers, or of paths of their modules',
    (value) => isListOf(value, isWall),
  ],
} as const satisfies Readonly<Record<string, readonly [string, (value: unknown) => boolean]>>

export type OptionKind = true | keyof typeof kinds

/**
 * Refuses an option that there is not: a misspelt limit or tenant would be ignored otherwise, and its default hold; and a value
 * of another kind than `known` names. `known` lists the options of a type. Throws MayflyError INVALID.
 */
export function assertKnownOptions<T extends object>(
  options: T,
  known: Readonly<Record<keyof T, OptionKind>>,
): void {
  if (!isObject(options))
    throw new MayflyError('INVALID', 'Cannot use the options: expected an object')
  for (const [name, value] of Object.entries(options)) {
    const kind: OptionKind | undefined = Object.hasOwn(known, name)
      ? known[name as keyof T]
      : undefined
    if (kind === undefined) throw unknownOption(name, Object.keys(known))
    if (kind !== true && value !== undefined && !kinds[kind][1](value))
      throw new MayflyError('INVALID', `Cannot use "${name}": expected ${kinds[kind][0]}`, {
        details: { path: name },
      })
  }
}

/** True for what `launch` can be called of. Its other members are checked by the compiler. */
export function isProvider(value: unknown): boolean {
  const { detect, launch } = (value ?? {}) as {
    readonly detect?: unknown
    readonly launch?: unknown
  }
  return isFunction(detect) && isFunction(launch)
}

function unknownOption(name: string, known: readonly string[]): MayflyError {
  return new MayflyError('INVALID', `Cannot use the option "${name}": there is no such option`, {
    hint: `Use ${known.join(', ')}`,
    details: { path: name },
  })
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isFunction(value: unknown): boolean {
  return typeof value === 'function'
}

function isListOf(value: unknown, isItem: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(isItem)
}

function isPath(value: unknown): boolean {
  return typeof value === 'string' && value !== ''
}

function isWall(value: unknown): boolean {
  return isPath(value) || isProvider(value)
}
