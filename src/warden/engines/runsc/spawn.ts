import { identify } from '../../../os/proc.ts'
import { listenTo } from '../../readiness.ts'
import { asWallUser, entering, shell, startChild } from '../spawned.ts'
import { donatedFds } from './bundle.ts'
import { SentryControl } from './control.ts'
import type { RunscResources } from './wall.ts'

export interface SpawnParts
  extends Pick<RunscResources, 'id' | 'slot' | 'folder' | 'cgroup'>, Programs {}

/**
 * Flags of runsc: no network device except the sentry's loopback; no overlay, because the root is read-only and scratch
 * is in memory; cgroups of the host are created by the warden, those of the sentry bound its tasks; sockets of the host
 * can be opened, of which only the folder of the egress path has any.
 */
const SETTINGS = [
  '--rootless',
  '--platform=systrap',
  '--network=none',
  '--overlay2=none',
  '--ignore-cgroups',
  '--host-uds=open',
  // Mounts are read-only and a wall lives for one job, so the sentry may cache lookups without revalidation.
  '--file-access-mounts=exclusive',
] as const

export interface Programs {
  readonly runsc: string
  readonly setpriv: string
  readonly unshare: string
}

/** Command line of runsc with its global flags, as the user of the wall; it dies with its parent (PR_SET_PDEATHSIG). */
export function commandFor(
  { slot, folder }: Pick<RunscResources, 'slot' | 'folder'>,
  { runsc, setpriv }: Programs,
): readonly string[] {
  return [...asWallUser(setpriv, slot?.uid), runsc, `--root=${folder.state}`, ...SETTINGS]
}

/**
 * The command of runsc in a user namespace with this user as its root. Otherwise runsc re-executes itself in one and waits
 * outside, which costs 20 ms of CPU time and 7 MiB per wall. The parent-death signal is set last, because the kernel
 * clears it when credentials change (prctl(2)).
 */
function commandInside(
  parts: Pick<RunscResources, 'slot' | 'folder'>,
  programs: Programs,
): readonly string[] {
  const own = commandFor({ ...parts, slot: undefined }, programs)
  const { setpriv, unshare } = programs
  const become = asWallUser(setpriv, parts.slot?.uid)
  return [...become, unshare, '--user', '--map-root-user', '--mount', '--', ...own]
}

/** Starts `runsc run` for a bundle. */
export function spawnRunsc({ id, slot, folder, cgroup, ...programs }: SpawnParts): RunscResources {
  const command = [
    ...commandInside({ slot, folder }, programs),
    'run',
    `--bundle=${folder.all}`,
    ...donatedFds.map((fd) => `--pass-fd=${fd}:${fd}`),
    id,
  ]
  const child = startChild(shell, entering(cgroup?.entryFiles() ?? [], command), {
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    stdio: ['ignore', 'output', 'output', 'ignore', 'pipe', 'pipe', 'pipe'],
  })
  return {
    id,
    slot,
    child,
    folder,
    cgroup,
    complaint: listenTo(child),
    control: new SentryControl(folder.state, id),
    processes: child.pid === undefined ? [] : [identify(child.pid)],
  }
}
