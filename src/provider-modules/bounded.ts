import { createContext, Script } from 'node:vm'

/** Bounds of a module, in milliseconds. */
export interface ModuleBounds {
  readonly importMsMax: number
  readonly probeMsMax: number
  /** Longest synchronous stretch of its probe or launch: it blocks the event loop of the server. */
  readonly loopMsMax: number
  readonly launchMsMax: number
  readonly disposeMsMax: number
}

export const moduleBounds: ModuleBounds = {
  importMsMax: 10_000,
  probeMsMax: 10_000,
  loopMsMax: 1_000,
  launchMsMax: 20_000,
  disposeMsMax: 20_000,
}

/**
 * Runs a call into a provider module with a time limit. A module is trusted not to attack; the limits keep one that
 * hangs by mistake from stopping the server. `callWithin` ends an endless loop by V8's watchdog (`timeout` of
 * `node:vm`), which terminates the JavaScript of the call; `boundedCall` stops waiting for a promise. Not handled: a loop
 * that begins after the first `await` of the call.
 */
export function callWithin<T>(call: () => T, msMax: number): T {
  const before = context['call']
  context['call'] = call
  try {
    return script.runInContext(context, { timeout: msMax }) as T
  } catch (error) {
    if ((error as NodeJS.ErrnoException | undefined)?.code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT')
      throw error
    throw new Error(`it ran for ${msMax} ms without a pause`, { cause: error })
  } finally {
    context['call'] = before
  }
}

const script = new Script('call()')
const context = createContext({})

/**
 * Rejects with Error if the promise is not settled in time; the work itself continues. Unless `keepsAlive`, the timer
 * is unreferenced and does not keep the process alive.
 */
export async function boundedCall<T>(
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
