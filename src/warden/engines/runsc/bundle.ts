import { etcFiles } from '../../../jail/etc.ts'
import { statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { systemFolders } from '../../../jail/facts.ts'
import {
  limitsOfWhole,
  ownFolder,
  ownUidInside,
  pythonFile,
  reserved,
  runnerWords,
  scratchFolders,
  settingsInside,
  wholeEnv,
  wholeSystem,
  workFolder,
  type MountedLayer,
} from '../../../jail/whole.ts'
import { runscFolderOf, type WallFolder } from './place.ts'
import type { RunscProgram } from './program.ts'
import type { RootContent } from './root-folders.ts'

/** Descriptor by which process 1 reports that its program has failed, and waits for the answer before it exits. */
export const failedFd = 6
/** Descriptors donated, by the same numbers outside: the readiness pipe, the socket to the server, and that one. */
export const donatedFds = [4, 5, failedFd] as const

/** Folder of the egress path, as the program sees it, and its socket. */
const egressInside = '/run/mayfly'
export const egressName = 'egress'
/** Uid of the forwarder, neither root nor the program's user, so that the program cannot kill it. */
export const forwarderUid = 65_534
/**
 * Command inside that connects the loopback to the egress socket, in the language of the program: an image may have no
 * other interpreter.
 */
export function forwarderOf({ whole }: RunscProgram): readonly string[] {
  const runner = `${ownFolder}/guest/process`
  const socket = `${egressInside}/${egressName}`
  if (!whole.links) return [`${ownFolder}/bin/node`, `${runner}/forward.js`, socket]
  if (whole.interpreter !== pythonFile) return [whole.interpreter, `${runner}/forward.js`, socket]
  return [whole.interpreter, '-I', '-S', `${runner}/mayfly_forward.py`, socket]
}

/**
 * The sentry's own cgroups, which count its tasks. Read-only: they are mounted in a tmpfs without a size limit, which
 * every program inside could write to.
 */
const cgroupInside = '/sys/fs/cgroup'

/**
 * PID 1 is root inside, with CAP_SETUID and CAP_SETGID only, so that the program cannot signal it. It waits, reaps
 * orphans and forwards the exit code. Its own messages go to the readiness pipe, which is not read after the program is
 * ready. It exits with an error only once the warden has read the counts of the sentry, which end with it.
 */
const WAIT = `[ $n = 0 ] || { echo >&${failedFd}; read -r _ <&${failedFd}; }`
const SCRIPT = `exec 3>&2 2>&4; ("$@" 2>&3 ${failedFd}>&- ${reserved}); n=$?; ${WAIT}; exit $n`
const INIT = ['/bin/sh', '-c', SCRIPT, 'init']
/**
 * Changes to the program's user, which drops all capabilities; no_new_privs was set before. An image may lack setpriv,
 * so there PID 1 has that user from its start, without any capability: the program can kill it, and thereby ends
 * itself.
 */
const BECOME = ['/usr/bin/setpriv', `--reuid=${ownUidInside}`, `--regid=${ownUidInside}`]
const RIGHTS = ['CAP_SETUID', 'CAP_SETGID']

interface Mount {
  readonly destination: string
  readonly type: string
  readonly source: string
  readonly options: readonly string[]
}

/** Small files of the host that are copied, not mounted; the dynamic loader's cache changes with each package. */
const COPIED = new Set([
  '/etc/ssl/openssl.cnf',
  '/etc/matplotlibrc',
  '/etc/mime.types',
  '/etc/services',
  '/etc/protocols',
  '/etc/os-release',
])

/** Writes `config.json`, for a root of `rootContent`. */
export function writeBundle(
  folder: WallFolder,
  program: RunscProgram,
  { layers, root }: { readonly layers: readonly MountedLayer[]; readonly root: string },
): void {
  writeFileSync(
    path.join(folder.all, 'config.json'),
    JSON.stringify(configOf(program, layers, { root, mounts: mountsOf(folder, program, layers) })),
    { mode: 0o444 },
  )
}

/** Content of a root, with a mount point for each mount. */
export function rootContent(program: RunscProgram, layers: readonly MountedLayer[]): RootContent {
  const mounts = mountsOf(runscFolderOf('any'), program, layers)
  const isFile = ({ type, source, destination }: Mount) =>
    type === 'bind' && destination !== egressInside && !statSync(source).isDirectory()
  return {
    folders: mounts.filter((mount) => !isFile(mount)).map(({ destination }) => destination),
    files: mounts.filter(isFile).map(({ destination }) => destination),
    texts: etcFiles(ownUidInside),
    links: linksOf(program),
    copies: program.whole.links ? [] : wholeSystem().mounts.filter((place) => COPIED.has(place)),
  }
}

function configOf(
  program: RunscProgram,
  layers: readonly MountedLayer[],
  { root, mounts }: { readonly root: string; readonly mounts: readonly Mount[] },
) {
  const { core, nofile, memlock } = limitsOfWhole
  const { scratchBytes, links } = program.whole
  const isImage = links !== undefined
  const become = isImage ? [] : [...BECOME, '--clear-groups', '--']
  const rights = isImage ? [] : RIGHTS
  const limits = { CORE: core, NOFILE: nofile, MEMLOCK: memlock, FSIZE: scratchBytes }
  return {
    ociVersion: '1.0.2',
    process: {
      user: isImage ? { uid: ownUidInside, gid: ownUidInside } : { uid: 0, gid: 0 },
      args: [...INIT, ...become, ...commandOf(program, layers)],
      env: Object.entries(wholeEnv).map(([name, value]) => `${name}=${value}`),
      cwd: workFolder,
      capabilities: { bounding: rights, effective: rights, inheritable: [], permitted: rights },
      rlimits: Object.entries(limits).map(([name, value]) => ({
        type: `RLIMIT_${name}`,
        hard: value,
        soft: value,
      })),
      noNewPrivileges: true,
    },
    root: { path: root, readonly: true },
    hostname: 'mayfly',
    mounts,
    linux: { namespaces: ['pid', 'network', 'ipc', 'uts', 'mount'].map((type) => ({ type })) },
  }
}

function commandOf(program: RunscProgram, layers: readonly MountedLayer[]) {
  return runnerWords(program, { ...settingsInside(program.whole, layers), listens: false })
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
    { destination: cgroupInside, type: 'cgroup', source: 'cgroup', options: ['ro'] },
    ...(whole.links ? [] : [...systemFolders().mounts, ...wholeSystem().mounts])
      .filter((place) => !COPIED.has(place))
      .map((place) => bind(place)),
    ...whole.places.map(({ from, at }) => bind(from, at)),
    ...scratchFolders.map(scratch),
    bind(folder.egress, egressInside),
    ...layers.map(({ root, content, at }) => bind(path.join(root, content), at)),
  ]
}

function linksOf({ whole }: RunscProgram) {
  const all = whole.links ?? [...systemFolders().links, ...wholeSystem().links]
  // The sentry creates the links of /dev.
  return all.filter(({ at }) => !at.startsWith('/dev/'))
}
