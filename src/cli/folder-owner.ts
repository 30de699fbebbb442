import { readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { MayflyError } from '../contract/error.ts'
import { lastFlag } from '../lib/last-flag.ts'
import { startAs } from '../warden/step-down.ts'
import { ownCommand } from './own-command.ts'

/** Environment variables that name folders of root. */
const OF_ROOT = /^(?:XDG_\w+|MAIL|SUDO_\w+)$/

/**
 * As root, re-executes as the owner of this folder, permanently: files that the command makes belong to that user, and it
 * has no rights of root. Returns for an ordinary user, and for a folder of root. Throws MayflyError STATE for an owner
 * without a home, unless a state folder is named.
 */
export function becomeFolderOwner(argv: readonly string[]): void {
  if (process.getuid?.() !== 0) return
  const { uid, gid } = statSync('.')
  if (uid === 0) return
  for (const name of Object.keys(process.env)) if (OF_ROOT.test(name)) delete process.env[name]
  Object.assign(process.env, identityOf(uid) ?? withoutHome(uid, argv))
  startAs({ uid, gid }, ownCommand(argv))
}

function identityOf(uid: number): Readonly<Record<string, string>> | undefined {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((one) => one.split(':')[2] === `${uid}`)
  const [name, , , , , home] = line?.split(':') ?? []
  if (!name || !home || statSync(home, { throwIfNoEntry: false })?.uid !== uid) return undefined
  return { HOME: home, USER: name, LOGNAME: name }
}

/** Environment for an owner without a home: caches are in the state folder. */
function withoutHome(uid: number, argv: readonly string[]): Readonly<Record<string, string>> {
  const state = lastFlag(argv, '--state') || process.env['MAYFLY_STATE']
  if (state) {
    const cache = join(resolve(state), 'cache')
    return { HOME: '/nonexistent', USER: `${uid}`, LOGNAME: `${uid}`, XDG_CACHE_HOME: cache }
  }
  throw new MayflyError(
    'STATE',
    `Cannot run as uid ${uid}, which owns this folder: it has no home`,
    {
      hint: 'Name a state folder of that user with --state',
    },
  )
}
