import { posix } from 'node:path'
import * as z from 'zod'
import { inUsualBase64 } from './schema-parts.ts'
import { stdinBytesMax } from './stdin-bound.ts'

/** Arguments, environment and standard input of a job's program. */

/** Linux refuses a longer argument or `NAME=value` (MAX_ARG_STRLEN, including its NUL). */
export const stringBytesMax = 128 * 1024 - 1
/**
 * Total of all arguments, and of all variables: together half of execve's limit with a stack of 8
 * MB.
 */
export const argsBytesMax = 512 * 1024
export const envBytesMax = 512 * 1024
export const argsMax = 10_000
export const envMax = 1000
const ENV_NAME_MAX = 256

const argument = z
  .string()
  .refine(isPassable, `expected text without NUL, ${stringBytesMax} bytes at most`)

export const argsAsked = z
  .array(argument)
  .max(argsMax)
  .refine(
    (args) => args.reduce((sum, one) => sum + Buffer.byteLength(one) + 1, 0) <= argsBytesMax,
    `expected ${argsBytesMax} bytes at most, all arguments together`,
  )
  .readonly()
  .describe('arguments of the program: `process.argv` from 2 on, `sys.argv` from 1 on, `$1` …')

export const envAsked = z
  .record(z.string(), z.string())
  .superRefine((env, context) => {
    const entries = Object.entries(env)
    const problem = (message: string, name?: string) =>
      context.addIssue({ code: 'custom', message, ...(name !== undefined && { path: [name] }) })
    if (entries.length > envMax) return problem(`expected ${envMax} variables at most`)
    const bytes = entries.reduce((sum, [name, value]) => sum + bytesOf(name, value), 0)
    if (bytes > envBytesMax) return problem(`expected ${envBytesMax} bytes at most, all together`)
    for (const [name, value] of entries) {
      const why = whyNotVariable(name, value)
      if (why !== undefined) problem(why, name.slice(0, ENV_NAME_MAX))
    }
  })
  .readonly()
  .describe('environment variables; only names and sizes are recorded, never values')

export const stdinAsked = z
  .union([
    z.string(),
    z.strictObject({
      content: z.string(),
      encoding: z.enum(['utf8', 'base64']).default('utf8'),
    }),
  ])
  .transform((given) => (typeof given === 'string' ? { content: given, encoding: utf8 } : given))
  .refine(
    ({ content, encoding }) =>
      content.length <= 2 * stdinBytesMax && Buffer.byteLength(content, encoding) <= stdinBytesMax,
    `expected ${stdinBytesMax} bytes at most`,
  )
  .check(inUsualBase64())
  .readonly()
  .describe('standard input of the program, in place of the input as JSON')

const utf8 = 'utf8' as const
export type Stdin = z.output<typeof stdinAsked>

/**
 * Refused variables: those that make a loader, an interpreter or a shell load code ahead of the
 * job's own, unseen by the analysis; Mayfly's own; and the proxy settings, which belong to the
 * wall.
 */
const refused: readonly (readonly [RegExp, string])[] = [
  [/^(LD_|GLIBC_TUNABLES$|GCONV_PATH$)/, 'the loader of every program reads it'],
  [/^NODE_(OPTIONS|CHANNEL_.*|V8_COVERAGE|REPL_.*)$/, 'Node would load or write more than the job'],
  [
    /^PYTHON(STARTUP|HOME|INSPECT|EXECUTABLE|PLATLIBDIR|USERBASE|BREAKPOINT)$/,
    'Python would load more than the job',
  ],
  [/^(BASH_ENV|ENV|SHELLOPTS|BASHOPTS|PS4|BASH_FUNC_.*)$/, 'a shell would run it ahead of the job'],
  [/^(PERL5OPT|PERL5DB|RUBYOPT|LUA_INIT.*)$/, 'an interpreter would run it ahead of its program'],
  // Named by PYTHONWARNINGS, the module antigravity opens a page at its import.
  [/^BROWSER$/, 'Python would run it to open a page'],
  [/^MAYFLY_/, 'Mayfly sets it'],
  [/^(https?|all|no)_proxy$/i, 'the wall sets the proxy'],
]

/** Reason why a job may not set this variable; undefined if it may. */
export function whyNotVariable(name: string, value: string): string | undefined {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) || name.length > ENV_NAME_MAX)
    return `expected a name of letters, digits and "_", ${ENV_NAME_MAX} at most`
  const rule = refused.find(([pattern]) => pattern.test(name))
  if (rule) return `"${name}" cannot be set: ${rule[1]}`
  if (name === 'PYTHONPATH' && value.split(':').some(isDescriptor))
    return '"PYTHONPATH" cannot be set to a path below /dev or /proc: Python would load code from standard input'
  if (isPassable(value) && bytesOf(name, value) <= stringBytesMax) return undefined
  return `expected a value without NUL, ${stringBytesMax} bytes at most with its name`
}

/** True for a place below `/dev` or `/proc`, seen from the working folder: Python imports from an archive on a descriptor. */
function isDescriptor(place: string): boolean {
  return /^\/(?:dev|proc)(?:\/|$)/.test(posix.resolve('/work', place))
}

function bytesOf(name: string, value: string): number {
  return name.length + Buffer.byteLength(value) + 1
}

/** True if execve accepts it as one string. */
function isPassable(text: string): boolean {
  return (
    text.length <= stringBytesMax &&
    !text.includes('\0') &&
    text.isWellFormed() &&
    Buffer.byteLength(text) <= stringBytesMax
  )
}
