/** `mayfly/codemode`: an executor for Cloudflare's Code Mode (`@cloudflare/codemode`). */
import { messageOf } from '../../contract/error.ts'
import type { JobRequest } from '../../contract/job.ts'
import type { Outcome } from '../../contract/outcome.ts'
import type { HostFunctions } from '../host-functions.ts'
import { assertKnownOptions } from '../known-options.ts'

/** Members of `Mayfly` that an executor uses. */
export interface FunctionRunner {
  run(request: JobRequest, options: { readonly functions: HostFunctions }): Promise<Outcome>
}

type ToolFunctions = Readonly<Record<string, (...args: unknown[]) => Promise<unknown>>>

interface NamedTools {
  readonly name: string
  readonly fns: ToolFunctions
  /** JavaScript that runs in the sandbox before the code. */
  readonly prelude?: string
}

interface ConnectorTools {
  readonly name: string
  readonly binding: { callTool(method: string, args: unknown): Promise<unknown> }
}

export interface ExecutorOptions {
  /** Timeout of one execution; default 60 s, within the ceilings of the configuration. */
  readonly timeout?: number | string
  readonly memory?: number | string
}

const NAME = /^[A-Za-z_$][\w$]*$/

/**
 * Runs the code of a model in an isolate of its own; tools run in this process, and their calls are passed as JSON.
 *
 * @example
 * const codemode = createCodeTool({ tools, executor: executor(mayfly) })
 */
export function executor(mayfly: FunctionRunner, options: ExecutorOptions = {}) {
  assertKnownOptions(options, { timeout: true, memory: true })
  const { timeout = '60s', memory } = options
  return {
    /** Never throws: an error of the code, or of the sandbox, is in `error`. */
    async execute(
      code: string,
      given: readonly NamedTools[] | ToolFunctions,
      { connectors = [] }: { readonly connectors?: readonly ConnectorTools[] } = {},
    ): Promise<{ result: unknown; error?: string; logs?: string[] }> {
      const named = Array.isArray(given)
        ? (given as readonly NamedTools[])
        : [{ name: 'codemode', fns: given as ToolFunctions }]
      try {
        const outcome = await mayfly.run(
          {
            language: 'js',
            entry: 'body',
            code: programOf(code, named, connectors),
            limits: { timeout, ...(memory !== undefined && { memory }) },
          },
          { functions: { tool: callerOf(named, connectors) } },
        )
        const { status, result, error, stdout } = outcome
        const logs = stdout === '' ? {} : { logs: stdout.replace(/\n$/, '').split('\n') }
        if (status === 'ok') return { result: result ?? undefined, ...logs }
        return {
          result: undefined,
          error: error?.message ?? `The execution ended as "${status}"`,
          ...logs,
        }
      } catch (thrown) {
        return { result: undefined, error: messageOf(thrown) }
      }
    },
  }
}

/** Makes the function that calls any tool: `(namespace, tool, ...args)`. Uses own properties only. */
function callerOf(named: readonly NamedTools[], connectors: readonly ConnectorTools[]) {
  return async (namespace: unknown, tool: unknown, ...args: readonly unknown[]) => {
    const [space, name] = [String(namespace), String(tool)]
    const connector = connectors.find((one) => one.name === space)
    if (connector) return await connector.binding.callTool(name, args[0])
    const fns = named.find((one) => one.name === space)?.fns
    const one = fns && Object.hasOwn(fns, name) ? fns[name] : undefined
    if (!one) throw new Error(`Tool "${name}" not found`)
    return await one(...args)
  }
}

/** Prepends a global object for each namespace, on the first line of the code. Throws for an invalid name. */
function programOf(
  code: string,
  named: readonly NamedTools[],
  connectors: readonly ConnectorTools[],
): string {
  const names = [...named, ...connectors].map(({ name }) => name)
  for (const name of names)
    if (!NAME.test(name)) throw new Error(`Cannot use "${name}" as the name of a namespace`)
  const make =
    'const $space = (space) => new Proxy({}, { get: (own, name) => typeof name === "symbol" || name === "then" ? undefined : ' +
    'Object.hasOwn(own, name) ? own[name] : (...args) => call("host.call", ["tool", space, name, ...args]) });'
  // Written to one stream to keep the order, with the marks of Cloudflare's own executors.
  const logs =
    'for (const level of ["warn", "error"]) console[level] = (...args) => console.log(`[${level}]`, ...args);'
  const spaces = names.map((name) => `const ${name} = $space(${JSON.stringify(name)});`)
  const preludes = named.flatMap(({ prelude }) => (prelude === undefined ? [] : [`${prelude};`]))
  return `${[make, logs, ...spaces, ...preludes].join(' ')} return await (${code}\n)();`
}
