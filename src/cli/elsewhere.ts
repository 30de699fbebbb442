import { existsSync, lstatSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { stateFolder } from '../lib/state-folder.ts'
import { takeEarly } from './early.ts'

/** Commands that start walls. */
const walled = new Set(['run', 'serve', 'analyze', 'providers', 'doctor', 'bench'])
const BIN = fileURLToPath(new URL('../../bin/mayfly.js', import.meta.url))

/**
 * Whether this process is to be the warden, and the command to run in a child: always for a server, and for
 * everything as root, so that what reads untrusted bytes is not root. An ordinary user's single run holds both.
 */
export function belongsElsewhere(verb: string | undefined, argv: readonly string[]): boolean {
  if (process.env['MAYFLY_ROLE'] || !walled.has(verb ?? '')) return false
  if (argv.includes('--help') || argv.includes('-h')) return false
  return verb === 'serve' || process.getuid?.() === 0
}

/** Node forks to start a program, so what starts walls must stay small: a young heap of 1 MiB, an old one of 64. */
const SMALL = ['--max-semi-space-size=1', '--max-old-space-size=64']

/**
 * A server's warden lives long, so it starts over as a small Node, in this very process; a single run is over before
 * that would pay. Returns where that is not needed, or cannot be done.
 */
export function startSmall(verb: string | undefined, argv: readonly string[]): void {
  if (verb !== 'serve' || !belongsElsewhere(verb, argv) || process.execArgv.includes(SMALL[0]!))
    return
  const args = [process.execPath, ...SMALL, ...process.execArgv, BIN, ...argv]
  if (process.platform === 'linux') process.execve?.(process.execPath, args, process.env)
}

/** What changes the server's files; made by root they would be root's, and root would follow links it did not make. */
const changing: Readonly<Record<string, readonly string[] | 'all'>> = {
  access: 'all',
  keys: ['trust', 'revoke', 'list'],
  policy: ['trust'],
}

/**
 * As root, starts over as the owner of the state folder, in this very process, for a command that writes there: the
 * folder is a server's, and a server that was broken into may have laid a link where root would write.
 */
export async function startAsOwner(
  verb: string | undefined,
  argv: readonly string[],
): Promise<void> {
  if (argv.includes('--help') || argv.includes('-h')) return
  const words = changing[verb ?? '']
  if (!words || process.getuid?.() !== 0) return
  if (words !== 'all' && !words.some((word) => argv.includes(word))) return
  const isTrust = verb === 'policy'
  const folder = isTrust ? trustFolder(argv) : await folderOf(argv)
  const owner = lstatSync(folder, { throwIfNoEntry: false })
  if (!owner || owner.uid === 0) return
  if (isTrust) (await import('./policy-trust.ts')).readAhead(argv)
  const { startAs } = await import('../warden/step-down.ts')
  startAs(owner, [process.execPath, BIN, ...argv])
}

/** Becomes the warden until the command is over. It never loads what reads a request, a source or a configuration. */
export async function runElsewhere(argv: readonly string[]): Promise<void> {
  const folder = await folderOf(argv)
  const early = await takeEarly(folder)
  const { becomeWarden } = await import('../warden/main.ts')
  process.exitCode = await becomeWarden({ argv, bin: BIN, stateFolder: folder, early })
}

/** What is trusted is never kept where a file says: it would be the file's own word. */
function trustFolder(argv: readonly string[]): string {
  return stateFolder(process.env, process.getuid?.(), valueOf(argv, '--state'))
}

/** Only a configuration file can say what flag and variable do not; only then it is read here too. */
async function folderOf(argv: readonly string[]): Promise<string> {
  const given = valueOf(argv, '--state')
  const file = valueOf(argv, '--config') ?? process.env['MAYFLY_CONFIG']
  if (given || process.env['MAYFLY_STATE'] || (!file && !existsSync('mayfly.toml'))) {
    return stateFolder(process.env, process.getuid?.(), given)
  }
  const { loadConfig } = await import('../config/load.ts')
  return loadConfig({ file, env: process.env, cwd: process.cwd() }).config.state
}

function valueOf(argv: readonly string[], flag: string): string | undefined {
  const at = argv.findIndex((word) => word === flag || word.startsWith(`${flag}=`))
  return at < 0
    ? undefined
    : argv[at]!.includes('=')
      ? argv[at]!.slice(flag.length + 1)
      : argv[at + 1]
}
