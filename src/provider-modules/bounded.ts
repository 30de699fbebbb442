import { createContext, Script } from 'node:vm'

/** Bounds of a module, in milliseconds. */
export interface ModuleBounds {
  readonly importMsMax: number
  readonly probeMsMax: number
  /** Longest stretch of its probe or launch without a pause: the server stands still for as long. */
  readonly loopMsMax: number
  readonly launchMsMax: number
}

export const moduleBounds: ModuleBounds = {
  importMsMax: 10_000,
  probeMsMax: 10_000,
  loopMsMax: 1_000,
  launchMsMax: 20_000,
}

/**
 * Bounds for calls into a provider module. A module is trusted not to attack; these keep one that hangs by mistake from
 * stopping the server. `callWithin` ends a loop that never returns, by V8's watchdog (`timeout` of `node:vm`), which
 * terminates whatever JavaScript runs inside the call; `within` stops waiting for a promise. Not handled: a loop that
 * begins after the first `await` of the call.
 */
export function callWithin<T>(call: () => T, msMax: number): T {
  const before = context['call']
  context['call'] = call
  try {
    return script.runInContext(context, { timeout: msMax }) as T
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error
    throw new Error(`it ran for ${msMax} ms without a pause`, { cause: error })
  } finally {
    context['call'] = before
  }
}

const script = new Script('call()')
const context = createContext({})

/**
 * Rejects with Error if the promise is not settled in time; the work itself goes on. Unless `keepsAlive`, the deadline
 * keeps no process alive that has nothing else to do.
 */
export async function within<T>(
  work: Promise<T>,
  msMax: number,
  what: string,
  { keepsAlive = false } = {},
): Promise<T> {
  const late = Promise.withResolvers<never>()
  const fail = () => late.reject(new Error(`${what} took longer than ${msMax} ms`))
  const timer = setTimeout(fail, msMax)
  if (!keepsAlive) timer.unref()
  try {
    return await Promise.race([work, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
