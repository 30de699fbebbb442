import type { SafeCapability } from '../contract/capability.ts'
import { MayflyError } from '../contract/error.ts'
import { builtin } from './builtin.ts'
import { observeCall } from './observe.ts'

/** Capability declared safe that did more than compute; `seen` lists what. */
export class Misdeclared extends MayflyError {
  readonly seen: readonly string[]

  constructor(name: string, seen: readonly string[]) {
    super(
      'FORBIDDEN',
      `Cannot trust the capability "${name}": it was declared safe, and was seen to do more (${seen.join(', ')})`,
      { details: { capability: name, seen }, hint: 'Register it with isolated: true and its code' },
    )
    this.seen = seen
  }
}

/** Arguments are passed on the stack of this thread, which has room for about twice as many. */
const argumentsMax = 50_000

const own = new Set<unknown>(builtin)

/**
 * Calls a non-isolated capability in this process. If it does more than compute, its answer is withheld and
 * Misdeclared thrown. Rethrows its own errors. Throws MayflyError TOO_LARGE for more arguments than `argumentsMax`.
 */
export function callInProcess(capability: SafeCapability, args: readonly unknown[]): unknown {
  const { name } = capability
  if (args.length > argumentsMax)
    throw new MayflyError(
      'TOO_LARGE',
      `Cannot call "${name}" with ${args.length} arguments: ${argumentsMax} are the maximum`,
      { hint: 'Give a list as one argument' },
    )
  const run = capability.run as (...args: readonly unknown[]) => unknown
  if (own.has(capability)) return run(...args)
  const { value, seen } = observeCall(() => run(...args))
  if (seen.length > 0) throw new Misdeclared(name, seen)
  if (isThenable(value)) throw new Misdeclared(name, ['a promise'])
  return value
}

function isThenable(value: unknown): boolean {
  return typeof (value as { readonly then?: unknown } | null | undefined)?.then === 'function'
}
