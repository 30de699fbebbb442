import { lstatSync, mkdirSync, readlinkSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { systemFolders } from '../../../jail/facts.ts'
import {
  etcFiles,
  insideOf,
  limitsOfWhole,
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

/** Descriptors donated to the program, by the same numbers outside: the readiness pipe and the socket to the server. */
export const donatedFds = [4, 5] as const

/** The folder of the way out, as the program sees it. */
export const exitInside = '/run/mayfly'

/**
 * Process 1 waits, adopts and passes the exit code on. Its own messages go to the readiness pipe, which is not read any
 * longer once the program is ready.
 */
const INIT = `exec 3>&2 2>&4; ("$@" 2>&3 ${reserved}); exit $?`

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
): void {
  const mounts = mountsOf(folder, program, layers)
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
  const none = { bounding: [], effective: [], inheritable: [], permitted: [] }
  return {
    ociVersion: '1.0.2',
    process: {
      user: { uid: ownUidInside, gid: ownUidInside },
      args: ['/bin/sh', '-c', INIT, 'init', ...commandOf(program, layers)],
      env: Object.entries(wholeEnv).map(([name, value]) => `${name}=${value}`),
      cwd: workFolder,
      capabilities: none,
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
    // The controls of the sentry's own cgroups; nobody inside may write to it.
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['ro'] },
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
