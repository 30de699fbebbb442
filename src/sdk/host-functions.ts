import { MayflyError } from '../contract/error.ts'
import { hostCall, type JobRequest } from '../contract/job.ts'
import type { HostCalls } from '../contract/pipeline.ts'
import { parseJson } from '../lib/parse-json.ts'

/** Functions of an application, by name. */
export type HostFunctions = Readonly<Record<string, (...args: readonly unknown[]) => unknown>>

/** Maximum characters of one result as JSON, because it is stored in the memory of a sandbox. */
const ANSWER_CHARACTERS_MAX = 4 * 2 ** 20

/** Handles calls of `name(...args)`, and of `call('host.call', [name, ...args])`, by functions of this process. */
export function answerFunctions(functions: HostFunctions): HostCalls {
  const answer = async (argsText: string) => {
    const asked = parseJson(argsText)
    const [name, ...args] = Array.isArray(asked) ? (asked as unknown[]) : []
    const one = typeof name === 'string' && Object.hasOwn(functions, name) && functions[name]
    if (typeof one !== 'function')
      throw new MayflyError('NOT_FOUND', `Cannot find the function "${String(name).slice(0, 200)}"`)
    const text = JSON.stringify(await one(...args)) ?? 'null'
    if (text.length <= ANSWER_CHARACTERS_MAX) return text
    throw new MayflyError(
      'TOO_LARGE',
      `Cannot return the result of "${String(name)}": it is too large`,
    )
  }
  return Object.assign(answer, { names: Object.keys(functions) })
}

/** Adds the grant to call functions to a job. */
export function withHostCall(request: JobRequest): JobRequest {
  return { ...request, capabilities: [...(request.capabilities ?? []), hostCall] }
}
