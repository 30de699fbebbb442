import {
  chownSync,
  lstatSync,
  mkdirSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { systemFolders } from '../../../jail/facts.ts'
import {
  etcFiles,
  insideOf,
  limitsOfWhole,
  ownFolder,
  ownUidInside,
  reserved,
  scratchFolders,
  tmpFolder,
  wholeEnv,
  wholeSystem,
  workFolder,
  type MountedLayer,
  type WholeSettings,
} from '../../../jail/whole.ts'
import type { WallFolder } from './place.ts'
import type { RunscProgram } from './program.ts'

/** Pipe of the bounds on tasks, which process 1 reads. */
export const boundsFd = 6
/** Descriptors donated, by the same numbers outside: the readiness pipe, the socket to the server, the bounds. */
export const donatedFds = [4, 5, boundsFd] as const

/** The folder of the way out, as the program sees it, and its socket. */
const exitInside = '/run/mayfly'
export const exitName = 'exit'
/** Root inside and the program's user are others: the program cannot end the forwarder. */
const FORWARDER_UID = 65_534
const FORWARD = [
  '/usr/bin/setpriv',
  `--reuid=${FORWARDER_UID}`,
  `--regid=${FORWARDER_UID}`,
  '--clear-groups',
  '--',
  `${ownFolder}/bin/node`,
  `${ownFolder}/guest/process/forward.js`,
  `${exitInside}/${exitName}`,
].join(' ')

/**
 * The sentry's own cgroups, in a tmpfs that anybody may write to: the folder above it is closed to all but root inside,
 * which is the wall's uid outside.
 */
const cgroupInside = '/sys/fs/cgroup'
const CLOSED = '/sys'

/**
 * Process 1 is root of the sentry without a right but to become the program's user. It waits, adopts and passes the exit
 * code on. Its own messages go to the readiness pipe, which is not read any longer once the program is ready.
 *
 * Beside it a shell starts the forwarder of the way out at the word `exit`, and writes each number that it reads to
 * `pids.max` of the sentry's own cgroup: the control socket of
 * runsc 20240729 reads that file and does not write it ("control file not writable"), and the sentry ignores
 * RLIMIT_NPROC. Both belong to root inside, so the program cannot signal them.
 */
const SCRIPT = `exec 3>&2 2>&4; f=$1; shift
(while read -r n <&${boundsFd}; do
case $n in exit) ${FORWARD} ${boundsFd}<&- & ;; *) echo "$n" > "$f" ;; esac
done) </dev/null >/dev/null 3>&- 5>&- &
exec ${boundsFd}<&-; ("$@" 2>&3 ${reserved}); exit $?`
const INIT = ['/bin/sh', '-c', SCRIPT, 'init', `${cgroupInside}/pids/pids.max`]
/** Becomes the user of the program: no right survives the change, and no_new_privs was set before. */
const BECOME = ['/usr/bin/setpriv', `--reuid=${ownUidInside}`, `--regid=${ownUidInside}`]
const RIGHTS = ['CAP_SETUID', 'CAP_SETGID']

interface Mount {
  readonly destination: string
  readonly type: string
  readonly source: string
  readonly options: readonly string[]
}

/** Writes `config.json` and the root: empty folders and links that mounts and the system's layout need. */
export function writeBundle(
  folder: WallFolder,
  program: RunscProgram,
  layers: readonly MountedLayer[],
  uid: number | undefined,
): void {
  const mounts = mountsOf(folder, program, layers)
  mkdirSync(path.join(folder.root, CLOSED), { mode: 0o700 })
  if (uid !== undefined) chownSync(path.join(folder.root, CLOSED), uid, uid)
  for (const { destination, source, type } of mounts)
    makePlace(folder.root, destination, type === 'bind' && !statSync(source).isDirectory())
  for (const [file, text] of Object.entries(etcFiles(ownUidInside))) {
    mkdirSync(path.join(folder.root, path.dirname(file)), { recursive: true })
    writeFileSync(path.join(folder.root, file), text, { mode: 0o444 })
  }
  for (const { at, target } of linksOf()) linkPlace(folder.root, at, target)
  writeFileSync(
    path.join(folder.bundle, 'config.json'),
    JSON.stringify(configOf(program, layers, mounts)),
    { mode: 0o444 },
  )
}

function configOf(
  program: RunscProgram,
  layers: readonly MountedLayer[],
  mounts: readonly Mount[],
) {
  const { core, nofile, data, memlock } = limitsOfWhole
  const { scratchBytes } = program.whole
  const limits = { CORE: core, NOFILE: nofile, DATA: data, MEMLOCK: memlock, FSIZE: scratchBytes }
  return {
    ociVersion: '1.0.2',
    process: {
      user: { uid: 0, gid: 0 },
      args: [...INIT, ...BECOME, '--clear-groups', '--', ...commandOf(program, layers)],
      env: Object.entries(wholeEnv).map(([name, value]) => `${name}=${value}`),
      cwd: workFolder,
      capabilities: { bounding: RIGHTS, effective: RIGHTS, inheritable: [], permitted: RIGHTS },
      rlimits: Object.entries(limits).map(([name, value]) => ({
        type: `RLIMIT_${name}`,
        hard: value,
        soft: value,
      })),
      noNewPrivileges: true,
    },
    root: { path: 'rootfs', readonly: true },
    hostname: 'mayfly',
    mounts,
    linux: { namespaces: ['pid', 'network', 'ipc', 'uts', 'mount'].map((type) => ({ type })) },
  }
}

function commandOf({ main, whole }: RunscProgram, layers: readonly MountedLayer[]) {
  const { interpreter, flags, places, isWarm, hasThreads } = whole
  const settings: WholeSettings = {
    work: workFolder,
    tmp: tmpFolder,
    listens: false,
    starts: true,
    warm: isWarm,
    threads: hasThreads,
    packages: layers.map(({ kind, at }) => ({ kind, at })),
  }
  const [file, runner] = [insideOf(interpreter, places), insideOf(main, places)]
  return [file, ...flags, runner, JSON.stringify(settings)]
}

function mountsOf(
  folder: WallFolder,
  { whole }: RunscProgram,
  layers: readonly MountedLayer[],
): readonly Mount[] {
  const bind = (source: string, destination = source) => ({
    destination,
    type: 'bind',
    source,
    options: ['rbind', 'ro'],
  })
  const scratch = (destination: string) => ({
    destination,
    type: 'tmpfs',
    source: 'tmpfs',
    options: [`size=${whole.scratchBytes}`, `mode=${destination === workFolder ? '755' : '1777'}`]
      .concat(destination === workFolder ? [`uid=${ownUidInside}`, `gid=${ownUidInside}`] : [])
      .concat(['nosuid', 'nodev']),
  })
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['ro'] },
    { destination: cgroupInside, type: 'cgroup', source: 'cgroup', options: ['rw'] },
    ...[...systemFolders().mounts, ...wholeSystem().mounts].map((place) => bind(place)),
    ...whole.places.map(({ from, at }) => bind(from, at)),
    ...scratchFolders.map(scratch),
    bind(folder.exit, exitInside),
    ...layers.map(({ root, content, at }) => bind(path.join(root, content), at)),
  ]
}

function linksOf() {
  const own = systemFolders().links.map((at) => ({ at, target: readlinkSync(at) }))
  // The sentry makes those of /dev by itself.
  const others = wholeSystem().links.filter(({ at }) => !at.startsWith('/dev/'))
  return [...own, ...others]
}

function makePlace(root: string, at: string, isFile: boolean): void {
  const place = path.join(root, at)
  mkdirSync(isFile ? path.dirname(place) : place, { recursive: true })
  if (isFile && !lstatSync(place, { throwIfNoEntry: false })) writeFileSync(place, '')
}

function linkPlace(root: string, at: string, target: string): void {
  const place = path.join(root, at)
  mkdirSync(path.dirname(place), { recursive: true })
  if (!lstatSync(place, { throwIfNoEntry: false })) symlinkSync(target, place)
}
