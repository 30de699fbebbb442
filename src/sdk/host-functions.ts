import { runInNewContext } from 'node:vm'
import { MayflyError, messageOf } from '../contract/error.ts'
import { hostCall, type JobRequest } from '../contract/job.ts'
import type { HostCalls } from '../contract/pipeline.ts'
import { reservedWords } from '../contract/reserved-words.ts'
import { parseJson } from '../lib/parse-json.ts'

/** Functions of an application, by name. */
export type HostFunctions = Readonly<Record<string, (...args: readonly unknown[]) => unknown>>

/** Maximum characters of one result as JSON, because it is stored in the memory of a sandbox. */
const ANSWER_CHARACTERS_MAX = 4 * 2 ** 20

/** Globals of JavaScript in a sandbox beside those of the language itself, and those of a job with a network. */
const globals =
  'AbortController AbortSignal DOMException Event EventTarget TextDecoder TextEncoder URL URLSearchParams atob btoa call ' +
  'clearInterval clearTimeout console crypto input performance queueMicrotask setInterval setTimeout structuredClone'
const ofNetworks = ['Headers', 'Response', 'fetch']
const IDENTIFIER = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u
let taken: ReadonlySet<string> | undefined

/** Throws MayflyError INVALID for a name or value that the code of a job could not call. */
function assertCallable(functions: HostFunctions, hasNetwork: boolean): void {
  for (const [name, one] of Object.entries<unknown>(functions)) {
    const why =
      typeof one !== 'function'
        ? `it is no function but of type "${typeof one}"`
        : !IDENTIFIER.test(name) || reservedWords.has(name)
          ? 'it is called as a global, and this is no name of a variable in JavaScript'
          : isTaken(name) || (hasNetwork && ofNetworks.includes(name))
            ? 'a job has another global of this name'
            : undefined
    if (why === undefined) continue
    throw new MayflyError(
      'INVALID',
      `Cannot use the function "${name.slice(0, 200)}" of "functions": ${why}`,
      { details: { path: `functions.${name.slice(0, 200)}` } },
    )
  }
}

/** The language's own globals are those of an empty context. */
function isTaken(name: string): boolean {
  taken ??= new Set([
    ...globals.split(' '),
    ...(runInNewContext('Object.getOwnPropertyNames(globalThis)') as readonly string[]),
  ])
  return taken.has(name)
}

/** Handles calls of `name(...args)`, and of `call('host.call', [name, ...args])`, by functions of this process. */
export function answerFunctions(functions: HostFunctions, hasNetwork = false): HostCalls {
  assertCallable(functions, hasNetwork)
  const answer = async (argsText: string) => {
    const asked = parseJson(argsText)
    const [named, ...args] = Array.isArray(asked) ? (asked as unknown[]) : []
    const name = String(named)
    const one = Object.hasOwn(functions, name) && functions[name]
    if (typeof one !== 'function')
      throw new MayflyError('NOT_FOUND', `Cannot find the function "${name.slice(0, 200)}"`)
    const text = jsonOf(await one(...args), name)
    if (text.length <= ANSWER_CHARACTERS_MAX) return text
    throw new MayflyError('TOO_LARGE', `Cannot return the result of "${name}": it is too large`)
  }
  return Object.assign(answer, { names: Object.keys(functions) })
}

function jsonOf(result: unknown, name: string): string {
  try {
    return JSON.stringify(result) ?? 'null'
  } catch (error) {
    const message = `Cannot return the result of "${name}" as JSON: ${messageOf(error)}`
    throw new MayflyError('INVALID', message, { cause: error })
  }
}

/** Adds the grant to call functions to a job. */
export function withHostCall(request: JobRequest): JobRequest {
  return { ...request, capabilities: [...(request.capabilities ?? []), hostCall] }
}
