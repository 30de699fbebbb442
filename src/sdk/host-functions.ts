import { MayflyError } from '../contract/error.ts'
import { hostCall, type JobRequest } from '../contract/job.ts'
import type { HostCalls } from '../contract/pipeline.ts'
import { parseJson } from '../lib/parse-json.ts'

/** Functions of an application, by name. */
export type HostFunctions = Readonly<Record<string, (...args: readonly unknown[]) => unknown>>

/** Characters of one answer as JSON: it lies in the memory of a sandbox. */
const ANSWER_CHARACTERS_MAX = 4 * 2 ** 20

/** Answers `call('host.call', [name, ...args])` by functions of this process. */
export function answerFunctions(functions: HostFunctions): HostCalls {
  return async (argsText) => {
    const asked = parseJson(argsText)
    const [name, ...args] = Array.isArray(asked) ? (asked as unknown[]) : []
    const one = typeof name === 'string' && Object.hasOwn(functions, name) && functions[name]
    if (!one)
      throw new MayflyError('NOT_FOUND', `Cannot find the function "${String(name).slice(0, 200)}"`)
    const text = JSON.stringify(await one(...args)) ?? 'null'
    if (text.length <= ANSWER_CHARACTERS_MAX) return text
    throw new MayflyError('TOO_LARGE', `Cannot pass on what "${name}" returned: too large`)
  }
}

/** The same job with the grant to call functions. */
export function withHostCall(request: JobRequest): JobRequest {
  return { ...request, capabilities: [...(request.capabilities ?? []), hostCall] }
}
