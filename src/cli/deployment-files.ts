import { readFileSync } from 'node:fs'
import { MayflyError } from '../contract/error.ts'

/** Files of the package that a deployment starts from, by the argument of `mayfly setup --print`. */
const files = {
  systemd: new URL('../../examples/systemd/mayfly.service', import.meta.url),
  container: new URL('../../examples/docker/Containerfile', import.meta.url),
} as const
export const deploymentFileNames = Object.keys(files) as readonly DeploymentFileName[]
export type DeploymentFileName = keyof typeof files

/** Server that the unit of systemd starts, with absolute paths. */
export interface DeployedServer {
  readonly node: string
  readonly program: string
  readonly state?: string | undefined
  readonly config?: string | undefined
  /** An ordinary user; root without. */
  readonly user?: string | undefined
}

/** Text of the file, the unit with the paths of this installation. Throws MayflyError USAGE for a path that a unit cannot have. */
export function deploymentFile(name: DeploymentFileName, server: DeployedServer): string {
  const text = readFileSync(files[name], 'utf8')
  return name === 'systemd' ? unitFor(text, server) : text
}

function unitFor(text: string, { node, program, state, config, user }: DeployedServer): string {
  const words = [
    node,
    program,
    'serve',
    '--state',
    state ?? '/var/lib/mayfly',
    ...(config === undefined ? [] : ['--config', config]),
  ]
  // systemd makes the folder, since an ordinary user may make none in /var/lib.
  const folder = state === undefined ? ['StateDirectory=mayfly', 'StateDirectoryMode=0700'] : []
  const own = user === undefined || user === 'root' ? [] : [`User=${user}`, ...folder]
  const lines = [`ExecStart=${words.map(unitWord).join(' ')}`, ...own]
  return text.replace(/^ExecStart=.*$/m, () => lines.join('\n'))
}

/** A word of a command line in a unit (systemd.service(5), systemd.syntax(7)). */
function unitWord(word: string): string {
  if (/\p{Cc}/u.test(word))
    throw new MayflyError('USAGE', 'Cannot write a path with control characters into a unit')
  if (/^[\w./:@+-]+$/.test(word)) return word
  const escaped = word.replaceAll(/[\\"]/g, '\\$&').replaceAll('%', '%%').replaceAll('$', '$$$$')
  return `"${escaped}"`
}
