import { spawnSync } from 'node:child_process'
import { lstatSync, readlinkSync } from 'node:fs'
import { wallUids } from '../contract/uids.ts'
import { cacheBriefly } from '../lib/cache-briefly.ts'
import { findProgram } from '../os/find-program.ts'
import { landlockVersion } from '../os/libc.js'
import { mappedUids } from '../os/proc.ts'

/** Abilities of this machine for a jail, probed by trying, never by a version number. */
export interface JailFacts {
  readonly platform: NodeJS.Platform
  /** Real root with a user map wide enough to hand out uids; any other root counts as an ordinary user. */
  readonly root: boolean
  /** Namespaces may be made: by root, or by this user inside a user namespace. */
  readonly namespaces: boolean
  /** A wall may have a /proc of its own; not where the one seen here is covered in part. */
  readonly proc?: boolean
  /** Version of Landlock; 0 when there is none. */
  readonly landlock: number
  readonly setpriv: string | undefined
  readonly unshare: string | undefined
  readonly bubblewrap: string | undefined
}

/** The layers a jail may be made of. A test may leave one out to show that the others hold. */
export const layers = [
  'namespaces',
  'landlock',
  'seccomp',
  'own uid',
  'memory cgroup',
  'memory watch',
] as const
export type JailLayer = (typeof layers)[number]

const PROBE_MS_MAX = 5000
/** PR_SET_PDEATHSIG: the program dies with its parent. */
export const dieFlags = ['--pdeathsig', 'KILL'] as const
export const namespaceFlags = [
  '--net',
  '--pid',
  '--mount',
  '--ipc',
  '--uts',
  '--fork',
  '--kill-child',
] as const
/** For an ordinary user, who owns nothing but may be root in a user namespace of one. */
export const userNamespaceFlags = ['--user', '--map-root-user'] as const

/** `hide` names programs and layers to treat as missing, so that every poorer machine can be tested on a rich one. */
export function findJailFacts(hide: readonly string[] = []): JailFacts {
  const program = (name: string) => (hide.includes(name) ? undefined : findProgram(name))
  const root = process.getuid?.() === 0 && mappedUids() > wallUids.last && !hide.includes('root')
  const unshare = hide.includes('namespaces') ? undefined : program('unshare')
  const found = tryPrograms(program('setpriv'), unshare, root)
  return {
    platform: process.platform,
    root,
    namespaces: found.namespaces,
    proc: found.namespaces && !hide.includes('proc') && mountsProc(unshare!, root),
    landlock: process.platform === 'linux' && !hide.includes('landlock') ? landlockVersion() : 0,
    setpriv: found.setpriv,
    unshare,
    bubblewrap: program('bwrap'),
  }
}

/** In one go where all is well; a `setpriv` that cannot (busybox has one) is none. */
function tryPrograms(setpriv: string | undefined, unshare: string | undefined, root: boolean) {
  const die = setpriv ? [setpriv, ...dieFlags, '--'] : []
  const user = root ? [] : userNamespaceFlags
  const make = unshare ? [unshare, ...user, ...namespaceFlags, '--'] : []
  if (unshare && works([...die, ...make])) return { setpriv, namespaces: true }
  return {
    setpriv: setpriv && works(die) ? setpriv : undefined,
    namespaces: setpriv !== undefined && unshare !== undefined && works(make),
  }
}

function mountsProc(unshare: string, root: boolean): boolean {
  const user = root ? [] : userNamespaceFlags
  return works([unshare, ...user, ...namespaceFlags, '--mount-proc', '--'])
}

/** Whether these programs, one becoming the next, get to run a last one that does nothing. */
function works(programs: readonly string[]): boolean {
  const tried = spawnSync(programs[0] ?? 'true', [...programs.slice(1), 'true'], {
    stdio: 'ignore',
    timeout: PROBE_MS_MAX,
    killSignal: 'SIGKILL',
  })
  return tried.status === 0
}

/**
 * Milliseconds for which folders and links of this system are not looked up again: walls that start together share a
 * look, and a package that is installed meanwhile is there for the next ones.
 */
export const systemLookMs = 1_000

/** The folders a dynamic program needs, as this system lays them out: real ones to mount, links to repeat. */
export const systemFolders = cacheBriefly(systemLookMs, () => {
  const found = ['/usr', '/lib', '/lib64'].flatMap((folder) => {
    const facts = lstatSync(folder, { throwIfNoEntry: false })
    return facts ? [{ folder, link: facts.isSymbolicLink() }] : []
  })
  return {
    mounts: found.filter(({ link }) => !link).map(({ folder }) => folder),
    links: found
      .filter(({ link }) => link)
      .map(({ folder: at }) => ({ at, target: readlinkSync(at) })),
  }
})
