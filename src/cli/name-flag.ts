import { MayflyError } from '../contract/error.ts'

/** Flags by the fields of a request that they set. */
const flagOf: Readonly<Record<string, string>> = {
  'limits.timeout': '--timeout',
  'limits.memory': '--memory',
  'limits.cpu': '--cpu',
  'limits.cpuTime': '--cpu-time',
  'limits.disk': '--disk',
  'limits.output': '--output',
  'limits.processes': '--processes',
  'limits.artifacts': '--artifacts-max',
  'limits.instructions': '--instructions',
  'network.allow': '--allow',
  timeout: '--timeout',
  idle: '--idle',
}

/** The refusal of a request by its fields, as one of the flags that set them: `Cannot read "--memory lots": expected …`. */
export function namingFlag(thrown: unknown, flags: object): unknown {
  if (!(thrown instanceof MayflyError) || thrown.code !== 'INVALID') return thrown
  const [fault] = Array.isArray(thrown.details) ? (thrown.details as unknown[]) : []
  const { path = '', message = '' } = (fault ?? {}) as { path?: string; message?: string }
  const [, field = path, index] = /^(.*)\.(\d+)$/.exec(path) ?? []
  const flag = flagOf[field]
  if (flag === undefined) return thrown
  const given = (flags as Readonly<Record<string, unknown>>)[camelOf(flag)]
  const value = Array.isArray(given) ? (given as unknown[])[Number(index)] : given
  const { hint, details, cause } = thrown
  return new MayflyError('INVALID', `Cannot read "${flag} ${String(value)}": ${message}`, {
    details,
    cause,
    ...(hint !== undefined && { hint }),
  })
}

/** Property of a flag, as Commander names it. */
const camelOf = (flag: string): string =>
  flag.slice(2).replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
