import { unlimited } from './controls.ts'

/** Environment variables of a program that nobody gave it: a variable of the caller wins. */

/** Programs that would ask at a terminal, or open an editor or a pager, fail or go on instead. */
export const withoutTerminal = {
  GIT_TERMINAL_PROMPT: '0',
  GIT_EDITOR: 'false',
  GIT_SEQUENCE_EDITOR: 'false',
  PAGER: 'cat',
} as const

/**
 * Retries of package managers, each with a pause, which a closed network answers like the first attempt. pip prints the cause
 * of a failure only when it retries, and does the first retry at once.
 */
export const withoutNetwork = {
  npm_config_fetch_retries: '0',
  PIP_RETRIES: '1',
  UV_HTTP_RETRIES: '0',
  YARN_HTTP_RETRY: '0',
  CARGO_NET_RETRY: '0',
  BUNDLE_RETRY: '0',
} as const

/** The system's packages of Python are read-only in a wall: pip installs into the job's own folder, without `--break-system-packages`. */
export const packageVariables = { PIP_BREAK_SYSTEM_PACKAGES: '1' } as const

/** Variables that size thread pools, which libraries otherwise size by the cores of the machine. */
const threadPools = [
  'OPENBLAS_NUM_THREADS',
  'OMP_NUM_THREADS',
  'MKL_NUM_THREADS',
  'RAYON_NUM_THREADS',
  'GOMAXPROCS',
  'UV_THREADPOOL_SIZE',
] as const

/** `cores`: limit of a job, which may be a fraction of one. */
export function threadVariables(cores: number): Readonly<Record<string, string>> {
  if (cores === unlimited) return {}
  const threads = `${Math.max(1, Math.ceil(cores))}`
  return Object.fromEntries(threadPools.map((name) => [name, threads]))
}

/** Defaults that were not given under their name, in any case: npm reads its variables in both. */
export function unlessGiven(
  defaults: Readonly<Record<string, string>>,
  given: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const names = new Set(Object.keys(given).map((name) => name.toLowerCase()))
  return Object.fromEntries(
    Object.entries(defaults).filter(([name]) => !names.has(name.toLowerCase())),
  )
}

/** Without `GIT_EDITOR` where another editor was given, which it would override. */
export function unattendedVariables(
  given: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const { GIT_EDITOR, ...others } = withoutTerminal
  const hasEditor = given['EDITOR'] !== undefined || given['VISUAL'] !== undefined
  return hasEditor ? others : { ...others, GIT_EDITOR }
}

export const defaultNames: readonly string[] = [
  ...Object.keys({ ...withoutTerminal, ...withoutNetwork, ...packageVariables }),
  ...threadPools,
]
