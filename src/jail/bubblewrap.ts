import { existsSync } from 'node:fs'
import path from 'node:path'
import { callClasses } from '../contract/calls.ts'
import { cacheBriefly } from '../lib/cache-briefly.ts'
import { shellQuoted } from '../lib/shell-word.ts'
import { compileSeccomp, readSeccompPolicy } from '../os/seccomp.ts'
import { filtersFor } from './sentinel-policy.ts'
import {
  enteredBy,
  execInside,
  placesInside,
  placesOf,
  wholeLimits,
  withoutSentinel,
  type JailCommand,
  type JailedProgram,
  type JailOptions,
} from './embedded.ts'
import {
  addEtcAndDev,
  launcherPath,
  settingFiles,
  step,
  tmpfsOptions,
  tmpfsStep,
  Trees,
  type Step,
} from './launch-steps.ts'
import { systemCheckMs, userNamespaceFlags, type JailFacts, type JailLayer } from './facts.ts'
import { etcFiles } from './etc.ts'
import { kernelSettings, settingsFolder, uuidFile } from './kernel-settings.ts'
import {
  deviceFiles,
  egressListenerFd,
  egressPort,
  launcherFdOfWhole,
  limitsOfWhole,
  maskedProc,
  ownUidInside,
  reserved,
  reservedFds,
  scratchFolders,
  scratchInodesMax,
  sentinelDataFd,
  sentinelPath,
  terminalOptions,
  terminalsFolder,
  wholeFilter,
  wholeFilterFd,
  workFolder,
  type MaskedProc,
  type WholeProgram,
} from './whole.ts'

/**
 * The jail by bubblewrap, if it is installed: one program start fewer than `embedded.ts`, and a widely used and
 * reviewed launcher. Without Landlock, which would need a second program start; the root contains only the wall's files
 * anyway.
 */

/** Files that a worker may open. */
const NOFILE_MAX = 256

/** Descriptor from which bubblewrap reads the filter, after stdio, the socket and the readiness pipe. */
export const seccompFd = 5

/**
 * Limits of core dumps (a dump would put a guest's memory on a disk) and of open files: bubblewrap has no options for
 * them. The worker lowers RLIMIT_CORE to one byte later, which also disables a core_pattern pipe; a shell counts in blocks.
 */
const limited = [
  '/bin/sh',
  '-c',
  `{ ulimit -c 1 2>/dev/null || :; } && { ulimit -n ${NOFILE_MAX} 2>/dev/null || :; } && exec "$@"`,
  'sh',
]

/** Lowers a limit; a lower one stays. */
const cap = 'cap() { ulimit "$1" "$2" 2>/dev/null || ulimit "$1" "$(ulimit -H "$1")"; }'

/**
 * Mount points for the tmpfs that all scratch folders share. bubblewrap cannot share one, so it is mounted before, in
 * bubblewrap's mount namespace only, over a folder that the wall does not need; the wall gets bind mounts of its folders.
 */
const SCRATCH_OVER = ['/mnt', '/srv', '/media', '/tmp']

const scratchOver = cacheBriefly(systemCheckMs, () =>
  SCRATCH_OVER.filter((over) => existsSync(over)),
)

/** Size limit of the root that the launcher builds: mount points, links and a few short files. */
const ROOT_BYTES_MAX = 2 ** 20
const ROOT_INODES_MAX = 1024

/** Undefined if bubblewrap is missing or cannot create namespaces. */
export function composeBubblewrap(
  program: JailedProgram,
  facts: JailFacts,
  options: JailOptions,
): JailCommand | undefined {
  const off = (layer: JailLayer) => options.without.includes(layer)
  if (!facts.bubblewrap || !facts.namespaces || off('namespaces')) return undefined
  const uid = off('own uid') ? undefined : options.uid
  const become =
    uid === undefined ? [] : ['--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups']
  const die = facts.setpriv ? [facts.setpriv, ...become, '--pdeathsig', 'KILL', '--'] : undefined
  if (uid !== undefined && !die) return undefined
  const { whole } = program
  const places = placesInside(program, options)
  const inside = whole
    ? wholeWalls(program, whole, { facts, options, places })
    : walls(places, options)
  return {
    jailKind: 'bubblewrap',
    ...(options.hasLauncher
      ? launched(program, uid, { options, places }, [facts.bubblewrap, 'bwrap', ...inside])
      : started([
          ...(die ?? []),
          ...(whole ? prepared(whole, facts, options) : limited),
          facts.bubblewrap,
          ...inside,
        ])),
    nested: true,
    ...(!off('seccomp') && filterOf(whole, options)),
    layers: [
      'user namespace',
      'network namespace',
      'pid namespace',
      'empty root',
      ...(uid === undefined ? [] : ['own uid']),
      ...(off('seccomp') ? [] : ['seccomp']),
      ...(asks(whole, options) ? ['sentinel'] : []),
    ],
    missing: [
      ...(uid === undefined ? ['own uid: walls share the uid of the user who started Mayfly'] : []),
      ...(whole && !facts.proc ? ['/proc: the kernel gives none here'] : []),
      ...(whole ? withoutSentinel(options) : []),
    ],
  }
}

function filterOf(whole: WholeProgram | undefined, options: JailOptions) {
  if (!whole) return { filter: compileSeccomp(readSeccompPolicy('start')), filterFd: seccompFd }
  if (!asks(whole, options)) return { filter: wholeFilter('namespaces'), filterFd: wholeFilterFd }
  return {
    filter: filtersFor(wholeFilter('sentinel'), options.calls ?? callClasses),
    filterFd: wholeFilterFd,
    asks: 'data' as const,
  }
}

/** Listening socket of the egress path, made before the program: the first call into libc costs Node 5 ms. */
const listenStep = step('listen', egressPort, egressListenerFd)

function asks(whole: WholeProgram | undefined, { sentinel, without }: JailOptions): boolean {
  const isThere = sentinel !== undefined && !('missing' in sentinel)
  return whole !== undefined && isThere && !without.includes('seccomp')
}

type Places = ReturnType<typeof placesInside>

function started(words: readonly string[]) {
  return { file: words[0]!, args: words.slice(1) }
}

/** Command by the launcher: sets user and limits, mounts folders to bind, and execs bubblewrap without a shell between. */
function launched(
  program: JailedProgram,
  uid: number | undefined,
  at: { readonly options: JailOptions; readonly places: Places },
  exec: readonly string[],
) {
  const { whole } = program
  const launcherFd = whole ? launcherFdOfWhole : seccompFd + 1
  const steps = [
    step('close', launcherFd),
    ...(uid === undefined ? [] : [step('become', uid, uid)]),
    step('die-with-parent'),
    ...(whole
      ? preparation(program, whole, at)
      : [step('limit', 'core', 1), step('limit', 'nofile', NOFILE_MAX)]),
    step('exec', ...exec),
  ]
  return { file: launcherPath(launcherFd), args: steps.flat(), launcherFd }
}

function preparation(
  program: JailedProgram,
  whole: WholeProgram,
  at: { readonly options: JailOptions; readonly places: Places },
): readonly Step[] {
  const over = overFor(whole)
  const [work, ...open] = scratchFolders.map((_, index) => `${over}/${index}`)
  const limits = wholeLimits(whole, at.options)
  return [
    step('namespaces', 'user', 'mount'),
    ...Object.entries(limits).map(([name, value]) => step('limit', name, value)),
    tmpfsStep(over, whole.scratchBytes, scratchInodesMax),
    step('folder', '755', work!, emptyOf(over), rootOf(over)),
    step('folder', '1777', ...open),
    tmpfsStep(rootOf(over), ROOT_BYTES_MAX, ROOT_INODES_MAX),
    ...rootSteps(over, program, at.places),
    step('reserve', ...reservedFds),
  ]
}

/**
 * Root file system built by the launcher, which bubblewrap then binds at once: for each bind it parses all of
 * /proc/self/mountinfo. It is a tmpfs of its own, because the sentinel recognises scratch folders by their device.
 */
function rootSteps(over: string, program: JailedProgram, { tree, links }: Places): readonly Step[] {
  const root = rootOf(over)
  const trees = new Trees()
  trees.add(step('folder', '755', ...FOLDERS.map((at) => root + at)))
  addEtcAndDev(trees, root, { etc: etcFiles(ownUidInside), devices: deviceFiles })
  // Covered by the wall's /proc, over which bubblewrap binds these files again.
  trees.add(...settingFiles(root, kernelSettings()))
  trees.bind(uuidFile, root + uuidFile, 'attach-readonly')
  const own = tree.map((place) => ({ from: place, at: place }))
  for (const { from, at } of [...own, ...placesOf(program)])
    trees.bind(from, root + at, 'attach-readonly')
  for (const [index, at] of scratchFolders.entries())
    trees.bind(`${over}/${index}`, root + at, 'attach')
  for (const { at, target } of links) trees.add(step('link', target, root + at))
  return trees.steps
}

/** Sets limits and mounts the scratch folders in a shell, which then execs bubblewrap. */
function prepared(
  whole: WholeProgram,
  { unshare }: JailFacts,
  options: JailOptions,
): readonly string[] {
  const { core, nofile, memlock } = limitsOfWhole
  const { data } = wholeLimits(whole, options)
  const { scratchBytes } = whole
  const over = overFor(whole)
  const [work, ...open] = scratchFolders.map((_, index) => `${over}/${index}`)
  const mounted = `${tmpfsOptions(scratchBytes, scratchInodesMax)},nosuid,nodev`
  const script = [
    cap,
    `cap -c ${core} && cap -n ${nofile}`,
    ...(data === undefined ? [] : [`cap -d ${Math.floor(data / 1024)}`]),
    // In blocks of 512 bytes.
    `cap -f ${Math.ceil(scratchBytes / 512)} && cap -l ${memlock / 1024}`,
    '{ echo 16 > /proc/sys/user/max_inotify_instances; } 2>/dev/null || :',
    `mount -t tmpfs -o ${mounted} mayfly ${over}`,
    `mkdir -m 755 ${work} ${emptyOf(over)} ${terminalsOf(over)} && mkdir -m 1777 ${open.join(' ')}`,
    // If the kernel refuses the mount, the folder stays empty and no terminal can be opened.
    `{ mount -t devpts -o ${terminalOptions},nosuid,noexec mayfly ${terminalsOf(over)} 2>/dev/null || :; }`,
    `mkdir -p ${foldersOfSettings.map((folder) => over + folder).join(' ')}`,
    ...[...etcOf(whole), ...settingsOf(over)].map(
      ({ from, text }) => `printf %s ${shellQuoted(text)} > ${from}`,
    ),
    `: > ${over}${uuidFile} && mount --bind ${uuidFile} ${over}${uuidFile}`,
    `exec "$@" ${reserved}`,
  ]
  const namespaces = [...userNamespaceFlags, '--mount', '--']
  return [unshare!, ...namespaces, '/bin/sh', '-c', script.join(' && '), 'sh']
}

const emptyOf = (over: string) => `${over}/empty`
const terminalsOf = (over: string) => `${over}/pts`
const rootOf = (over: string) => `${over}/root`
const settingsAt = (over: string, { hasLauncher }: JailOptions) =>
  (hasLauncher ? rootOf(over) : over) + settingsFolder

function overFor({ places }: WholeProgram): string {
  const isFree = (over: string) => !places.some(({ from }) => from.startsWith(`${over}/`))
  return scratchOver().find(isFree) ?? '/tmp'
}

function etcOf(whole: WholeProgram) {
  const over = overFor(whole)
  const files = Object.entries(etcFiles(ownUidInside))
  return files.map(([at, text]) => ({ at, text, from: `${over}/etc-${at.slice('/etc/'.length)}` }))
}

function settingsOf(over: string) {
  return Object.entries(kernelSettings()).map(([at, text]) => ({ from: over + at, text }))
}

const foldersOfSettings = [
  ...new Set([uuidFile, ...Object.keys(kernelSettings())].map((file) => path.dirname(file))),
]

/**
 * Placeholder in the arguments of bubblewrap, which `spawn.ts` replaces by the mark of the wall: `orphans.ts` finds a
 * bubblewrap whose warden died by that mark in its command line. It is the operand of an `--unsetenv` without effect,
 * because the programs that exec bubblewrap keep neither the environment nor argv[0].
 */
export const wallMark = 'mayfly-wall'
const MARKED = ['--unsetenv', wallMark] as const

/** Created before their contents: bubblewrap would create missing parents with mode 0700. */
const FOLDERS = ['/dev', '/etc', '/opt', '/proc']
const CLOSED = ['--cap-drop', 'ALL', '--hostname', 'mayfly', '--clearenv'] as const

function wholeWalls(
  program: JailedProgram,
  whole: WholeProgram,
  {
    facts,
    options,
    places,
  }: { readonly facts: JailFacts; readonly options: JailOptions; readonly places: Places },
): readonly string[] {
  const isAsking = asks(whole, options)
  const plain = execInside(program, whole, options)
  const masks = facts.proc ? masksOf(isAsking && options.hasLauncher === true) : noMasks
  const exec = isAsking ? enteredBy(plain, [...masks.entered, listenStep]) : plain
  const over = overFor(whole)
  const unfiltered = options.without.includes('seccomp')
  return [
    '--unshare-all',
    '--die-with-parent',
    ...MARKED,
    '--uid',
    `${ownUidInside}`,
    '--gid',
    `${ownUidInside}`,
    ...CLOSED,
    ...(masks.entered.length > 0 ? CAPABILITIES_OF_MASKS : []),
    ...Object.entries(exec.env).flatMap(([name, value]) => ['--setenv', name, value]),
    ...(options.hasLauncher
      ? ['--dev-bind', rootOf(over), '/']
      : rootBinds(program, whole, places)),
    ...(options.layers ?? []).flatMap(({ root, content, at }) => [
      '--ro-bind',
      `${root}/${content}`,
      at,
    ]),
    ...(isAsking ? ['--perms', '555', '--ro-bind-data', `${sentinelDataFd}`, sentinelPath] : []),
    ...(facts.proc ? procWalls(emptyOf(over), settingsAt(over, options), masks.bound) : []),
    '--remount-ro',
    '/',
    '--chdir',
    workFolder,
    ...(unfiltered || isAsking ? [] : ['--seccomp', `${wholeFilterFd}`]),
    '--',
    ...(isAsking ? [exec.path, ...exec.args.slice(1)] : exec.args),
  ]
}

/** Root as options of bubblewrap, without a launcher to build it. */
function rootBinds(
  program: JailedProgram,
  whole: WholeProgram,
  { tree, links }: Places,
): readonly string[] {
  const over = overFor(whole)
  return [
    ...FOLDERS.flatMap((place) => ['--perms', '755', '--dir', place]),
    ...tree.flatMap((place) => ['--ro-bind', place, place]),
    ...placesOf(program).flatMap(({ from, at }) => ['--ro-bind', from, at]),
    ...etcOf(whole).flatMap(({ from, at }) => ['--ro-bind', from, at]),
    ...deviceFiles.flatMap((place) => ['--dev-bind', place, place]),
    '--dev-bind',
    terminalsOf(over),
    terminalsFolder,
    ...scratchFolders.flatMap((at, index) => ['--bind', `${over}/${index}`, at]),
    ...links.flatMap(({ at, target }) => ['--symlink', target, at]),
  ]
}

/** Masks over /proc: binds of bubblewrap, and steps of `sentinel enter` for the remaining ones. */
interface Masks {
  readonly bound: MaskedProc
  readonly entered: readonly Step[]
}

const noMasks: Masks = { bound: { folders: [], files: [] }, entered: [] }

/**
 * Because each bind is expensive, bubblewrap binds one mask of each kind, and the sentinel's program copies these to all
 * other places before it drops the capabilities for that, see guest/sentinel/masks.c.
 */
function masksOf(isEntered: boolean): Masks {
  const all = maskedProc()
  if (!isEntered) return { bound: all, entered: [] }
  const kinds = [all.folders, all.files].filter((places) => places.length > 0)
  return {
    bound: { folders: all.folders.slice(0, 1), files: all.files.slice(0, 1) },
    entered: kinds.map((places) => step('mask', ...places)),
  }
}

/** For mount(2), and to empty the bounding set. bubblewrap's process 1 has them in its bounding set only. */
const CAPABILITIES_OF_MASKS = ['CAP_SYS_ADMIN', 'CAP_SETPCAP'].flatMap((name) => [
  '--cap-add',
  name,
])

/** A tmpfs for each folder would cost the kernel a superblock each. */
function procWalls(
  empty: string,
  settings: string,
  { folders, files }: MaskedProc,
): readonly string[] {
  return [
    '--proc',
    '/proc',
    '--ro-bind',
    settings,
    settingsFolder,
    ...folders.flatMap((at) => ['--ro-bind', empty, at]),
    ...files.flatMap((at) => ['--ro-bind', '/dev/null', at]),
    // Read-only: no writes to /proc/PID/mem or /proc/sys.
    '--remount-ro',
    '/proc',
  ]
}

function walls({ tree, links, exec }: Places, options: JailOptions): readonly string[] {
  const unfiltered = options.without.includes('seccomp')
  return [
    '--unshare-all',
    '--die-with-parent',
    ...MARKED,
    '--as-pid-1',
    '--cap-drop',
    'ALL',
    '--hostname',
    'mayfly',
    '--clearenv',
    ...Object.entries(exec.env).flatMap(([name, value]) => ['--setenv', name, value]),
    ...tree.flatMap((place) => ['--ro-bind', place, place]),
    ...links.flatMap(({ at, target }) => ['--symlink', target, at]),
    '--remount-ro',
    '/',
    '--chdir',
    '/',
    ...(unfiltered ? [] : ['--seccomp', `${seccompFd}`]),
    '--',
    exec.path,
    ...exec.args.slice(1),
  ]
}
