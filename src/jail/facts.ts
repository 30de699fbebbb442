import { spawnSync } from 'node:child_process'
import { lstatSync, readlinkSync } from 'node:fs'
import { wallUids } from '../contract/uids.ts'
import { cacheBriefly } from '../lib/cache-briefly.ts'
import { ownEnvironment } from '../lib/own-path.ts'
import { findProgram } from '../os/find-program.ts'
import { landlockVersion } from '../os/libc.js'
import { mappedUids } from '../os/proc.ts'

/** Isolation features of this machine, each probed by using it, never by a version number. */
export interface JailFacts {
  readonly platform: NodeJS.Platform
  /** Root with enough uids in its user namespace to give one to each wall; any other root counts as an ordinary user. */
  readonly root: boolean
  /** Namespaces can be created: by root, or by this user in a user namespace. */
  readonly namespaces: boolean
  /** A wall can mount its own /proc; the kernel refuses that if the current one is masked. */
  readonly proc?: boolean
  /** Version of Landlock; 0 when there is none. */
  readonly landlock: number
  readonly setpriv: string | undefined
  readonly unshare: string | undefined
  readonly bubblewrap: string | undefined
}

/** Layers of a jail. Tests disable one to show that the others still isolate. */
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
/** For an ordinary user, who can be root only in a user namespace with a single uid. */
export const userNamespaceFlags = ['--user', '--map-root-user'] as const

/** `hide` names programs and layers to treat as missing, so that machines with fewer features can be tested. */
export function findJailFacts(hide: readonly string[] = []): JailFacts {
  const program = (name: string) => (hide.includes(name) ? undefined : findProgram(name))
  const root = process.getuid?.() === 0 && mappedUids() > wallUids.last && !hide.includes('root')
  const unshare = hide.includes('namespaces') ? undefined : program('unshare')
  const found = tryPrograms({
    setpriv: program('setpriv'),
    unshare,
    root,
    mountsProc: !hide.includes('proc'),
  })
  return {
    platform: process.platform,
    root,
    namespaces: found.namespaces,
    proc: found.proc,
    landlock: landlockOf(hide),
    setpriv: found.setpriv,
    unshare,
    bubblewrap: program('bwrap'),
  }
}

/** The last Landlock ABI that restricts neither signals nor abstract sockets (before Linux 6.12). */
const LANDLOCK_UNSCOPED = 5

function landlockOf(hide: readonly string[]): number {
  if (process.platform !== 'linux' || hide.includes('landlock')) return 0
  const most = hide.includes('landlock scopes') ? LANDLOCK_UNSCOPED : Infinity
  return Math.min(landlockVersion(), most)
}

interface TriedPrograms {
  readonly setpriv: string | undefined
  readonly unshare: string | undefined
  readonly root: boolean
  /** False where a machine whose /proc is masked is played. */
  readonly mountsProc: boolean
}

/**
 * Tries everything in one chain first, which a usual machine passes: a start waits for each chain. A `setpriv` without
 * these options (busybox) counts as missing.
 */
function tryPrograms({ setpriv, unshare, root, mountsProc }: TriedPrograms) {
  const die = setpriv ? [setpriv, ...dieFlags, '--'] : []
  const user = root ? [] : userNamespaceFlags
  const make = unshare ? [unshare, ...user, ...namespaceFlags] : []
  const mount = mountsProc ? [[...make, '--mount-proc', '--']] : []
  if (unshare && mount.some((all) => works([...die, ...all])))
    return { setpriv, namespaces: true, proc: true }
  if (unshare && works([...die, ...make, '--'])) return { setpriv, namespaces: true, proc: false }
  const namespaces = setpriv !== undefined && unshare !== undefined && works([...make, '--'])
  return {
    setpriv: setpriv && works(die) ? setpriv : undefined,
    namespaces,
    proc: namespaces && mount.some(works),
  }
}

/** Whether these programs, each of which execs the next, reach a final `true`. */
function works(programs: readonly string[]): boolean {
  const tried = spawnSync(programs[0] ?? 'true', [...programs.slice(1), 'true'], {
    env: ownEnvironment(),
    stdio: 'ignore',
    timeout: PROBE_MS_MAX,
    killSignal: 'SIGKILL',
  })
  return tried.status === 0
}

/**
 * Milliseconds for which folders and links of this system are cached: walls that start together share one lookup, and a
 * package that is installed later is found by later walls.
 */
export const systemCheckMs = 1_000

/** Folders that a dynamically linked program needs: real ones to mount, symlinks (such as /lib) to repeat. */
export const systemFolders = cacheBriefly(systemCheckMs, () => {
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
