import { MayflyError } from '../contract/error.ts'
import { grantPolicy } from './policy.ts'

/** Variables of the command, and names of the caller's variables that were left out as secrets. */
export interface FolderVariables {
  readonly variables: Readonly<Record<string, string>>
  readonly leftOut: readonly string[]
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/
const BYTES_MAX = 2 * 2 ** 20

/**
 * Passes on the caller's variables, except names that look like secrets or that name sockets outside the wall.
 * `given`: `NAME=VALUE`, or `NAME` to pass that one on anyway. Throws MayflyError USAGE.
 */
export function variablesFor(
  caller: Readonly<Record<string, string | undefined>>,
  given: readonly string[],
  without: readonly string[],
): FolderVariables {
  const named = Object.fromEntries(given.flatMap((text) => pairOf(text, caller)))
  const { leftOut, set } = grantPolicy().environment
  const patterns = leftOut.map(({ name }) => patternOf(name))
  const isClosed = (name: string) =>
    without.includes(name) || patterns.some((pattern) => pattern.test(name))
  const all = Object.entries(caller).filter(
    (pair): pair is [string, string] => pair[1] !== undefined && !pair[0].includes('='),
  )
  const closed = all.filter(([name]) => isClosed(name) && !Object.hasOwn(named, name))
  const passed = all.filter(([name]) => !isClosed(name))
  const variables = { ...set, ...Object.fromEntries(passed), ...named }
  assertSmall(variables)
  return { variables, leftOut: closed.map(([name]) => name).filter(isReported) }
}

function pairOf(
  text: string,
  caller: Readonly<Record<string, string | undefined>>,
): readonly (readonly [string, string])[] {
  const at = text.indexOf('=')
  const name = at < 0 ? text : text.slice(0, at)
  if (!NAME.test(name) || text.includes('\0'))
    throw new MayflyError('USAGE', `Cannot read "--env ${text}": expected NAME=VALUE or NAME`)
  const value = at < 0 ? caller[name] : text.slice(at + 1)
  return value === undefined ? [] : [[name, value]]
}

function patternOf(name: string): RegExp {
  return new RegExp(`^${name.split('*').map(RegExp.escape).join('.*')}$`, 'i')
}

/** True for a likely credential, which the command may miss; dropped sockets and displays are not reported. */
function isReported(name: string): boolean {
  return (
    /^(?!MAYFLY_).*(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|_KEY|_KEY_ID|CREDENTIALS|PASS|_PWD|_PAT)$/i.test(
      name,
    ) || /^npm_config_.*auth/i.test(name)
  )
}

function assertSmall(variables: Readonly<Record<string, string>>): void {
  const bytes = Object.entries(variables).reduce(
    (sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value) + 2,
    0,
  )
  if (bytes > BYTES_MAX)
    throw new MayflyError('USAGE', `Cannot pass ${bytes} bytes of environment variables`, {
      hint: `The limit is ${BYTES_MAX} bytes`,
    })
}
