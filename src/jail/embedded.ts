import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { callClasses, type CallClass } from '../contract/calls.ts'
import type { PackageLink } from '../os/packages.ts'
import { MayflyError } from '../contract/error.ts'
import { compileSeccomp, readSeccompPolicy } from '../os/seccomp.ts'
import type { CProgramLookup } from './c-program.ts'
import { filtersFor } from './sentinel-policy.ts'
import { launched } from './embedded-steps.ts'
import { composeKeeper, judgesFiles, whyNoKeeper, type KeeperJail } from './keeper.ts'
import type { JailSpec } from './jail-spec.ts'
import type { Step } from './launch-steps.ts'
import {
  dieFlags,
  namespaceFlags,
  systemFolders,
  userNamespaceFlags,
  type JailFacts,
  type JailLayer,
} from './facts.ts'
import { etcFiles, systemFiles } from './etc.ts'
import { kernelSettings, settingsFolder, uuidFile } from './kernel-settings.ts'
import {
  dataBytesMaxOf,
  deviceFiles,
  handOverFd,
  programFds,
  limitsOfWhole,
  maskedProc,
  ownBinding,
  ownUidInside,
  reserved,
  runnerWords,
  scratchFolders,
  sentinelPath,
  settingsInside,
  terminalOptions,
  terminalsFolder,
  wholeEnv,
  wholeFilter,
  wholeFilterFd,
  wholeSystem,
  workFolder,
  type FilterKind,
  type MountedLayer,
  type JailMount,
  type WholeProgram,
  type WholeSettings,
} from './whole.ts'

/**
 * The jail that needs no installed tool: `unshare` of util-linux for the namespaces, then `guest/enter.js` for the
 * rest. Without `unshare`, or if namespaces are forbidden, the same entry program runs without a root of its own.
 */

/** A program to jail. Its files have the same paths inside, because Node's compile cache is keyed by path. */
export interface JailedProgram {
  readonly name: string
  readonly nodeFlags: readonly string[]
  /** Absolute path, below `tree`. */
  readonly main: string
  readonly env: Readonly<Record<string, string>>
  /** Folders and files that it may read, besides the system's libraries. */
  readonly tree: readonly string[]
  /** Symlinks to some of them, for a wall with a root of its own. */
  readonly links?: readonly PackageLink[]
  /** RLIMIT_DATA; omitted for a program that reserves address space without touching it. */
  readonly dataBytesMax?: number
  /** Present for a wall of whole programs; absent for a worker. */
  readonly whole?: WholeProgram
}

export interface JailOptions {
  /** Host uid of the wall; undefined for an ordinary user. */
  readonly uid: number | undefined
  readonly without: readonly JailLayer[]
  /** Folder of compiled code for this uid; see compiled.ts. */
  readonly compiled?: string | undefined
  /** For a whole program with a root of its own: the sentinel's program, or the reason for its absence. */
  readonly sentinel?: CProgramLookup | undefined
  /** Call classes that its sentinel answers; all by default. */
  readonly calls?: readonly CallClass[] | undefined
  /** True if the launcher starts it; otherwise programs of the system do, and one more Node. */
  readonly hasLauncher?: boolean | undefined
  /**
   * True if a cgroup counts the memory of a whole program; otherwise only the sampler does, and RLIMIT_DATA bounds it.
   */
  readonly isInGroup?: boolean | undefined
  /** Layers of packages of a whole program. */
  readonly layers?: readonly MountedLayer[] | undefined
  /** An empty folder of the uid, for a whole program without a root of its own. */
  readonly scratch?: string | undefined
}

export interface JailCommand {
  readonly jailKind: 'embedded' | 'bubblewrap'
  readonly file: string
  readonly args: readonly string[]
  /** Descriptor on which `file` expects the launcher; it enters its cgroups by steps before `args`. */
  readonly launcherFd?: number
  /** True if the program is a child of the started process (which must then die with it). */
  readonly nested: boolean
  /** The first seccomp filter, if the launcher reads it from a descriptor. */
  readonly filter?: Buffer
  readonly filterFd?: number
  /** Present if its sentinel is a keeper, which starts it: options before those of its cgroups, and its mark. */
  readonly keeper?: { readonly options: readonly string[]; readonly mark: number }
  /** The launcher waits for a sentinel on `handOverFd`; with `data` it also reads the sentinel's program from `sentinelDataFd`. */
  readonly asks?: 'program' | 'data'
  readonly layers: readonly string[]
  readonly missing: readonly string[]
}

const SCRATCH_BYTES = 2 ** 20
const NOFILE_MAX = 256
const KEPT_BY_WORKERS = [3, 4]
const SYSTEM_OF_WORKERS = ['/usr', '/lib', '/lib64', '/dev/null']
const systemOfPrograms = () => [
  '/usr',
  '/lib',
  '/lib64',
  '/bin',
  '/sbin',
  ...systemFiles(),
  '/dev/null',
  '/dev/zero',
  '/dev/random',
  '/dev/urandom',
]
/** Mount point of the new root; only this mount namespace sees it. */
const BUILT_OVER = '/tmp'
const ENTER = fileURLToPath(new URL('../../guest/enter.js', import.meta.url))
const DIE_WITH_PARENT = fileURLToPath(new URL('../../guest/die-with-parent.js', import.meta.url))
const QUIET = '--disable-warning=ExperimentalWarning'

export function composeEmbedded(
  program: JailedProgram,
  facts: JailFacts,
  options: JailOptions,
): JailCommand {
  const { spec, asking } = embeddedSpec(program, facts, options)
  const { mounts } = spec
  const unkept = mounts ? undefined : whyNoKeeper(program.whole, facts, options)
  const kept = mounts || unkept !== undefined ? undefined : composeKeeper(spec, facts, options)
  if (program.whole && !mounts && !judgesFiles(facts, spec.user?.uid)) throw nothingHoldsFiles()
  const has = { spec, isAsked: asking !== undefined, isKept: kept !== undefined }
  return {
    jailKind: 'embedded',
    ...(kept
      ? keptCommand(kept)
      : options.hasLauncher
        ? launched(spec, facts)
        : started(
            enterBy(spec),
            facts,
            mounts,
            program.whole ? keptBy(asking !== undefined) : undefined,
          )),
    nested: mounts || kept !== undefined,
    ...(asking && { filter: asking.filter, filterFd: wholeFilterFd, asks: 'program' as const }),
    layers: layersOf(has, facts, options),
    missing: missingOf(has, program, facts, options, unkept),
  }
}

interface JailParts {
  readonly spec: JailSpec
  readonly isAsked: boolean
  readonly isKept: boolean
}

function keptCommand({ file, args, launcherFd, filter, options, mark }: KeeperJail) {
  return { file, args, launcherFd, filter, filterFd: wholeFilterFd, keeper: { options, mark } }
}

function layersOf(
  { spec, isAsked, isKept }: JailParts,
  facts: JailFacts,
  { without }: JailOptions,
): readonly string[] {
  const { mounts, landlock, user } = spec
  return [
    ...(mounts
      ? [
          facts.root ? 'namespaces' : 'user namespace',
          'network namespace',
          'pid namespace',
          'empty root',
        ]
      : []),
    ...(user ? ['own uid'] : []),
    ...(landlock ? ['landlock'] : []),
    ...(without.includes('seccomp') ? [] : ['seccomp']),
    ...(isAsked || isKept ? ['sentinel'] : []),
    ...(isKept ? ['keeper'] : []),
  ]
}

function missingOf(
  { spec, isAsked, isKept }: JailParts,
  { whole }: JailedProgram,
  facts: JailFacts,
  options: JailOptions,
  unkept: string | undefined,
): readonly string[] {
  const { mounts, landlock, user } = spec
  return [
    ...(mounts
      ? []
      : [
          isKept
            ? 'namespaces: the network, the process table and the files are closed by seccomp, Landlock and a keeper; names of files and of the host can be seen'
            : 'namespaces: the network, the process table and the files are closed by seccomp and Landlock alone',
        ]),
    ...(user ? [] : ['own uid: walls share the uid of the user who started Mayfly']),
    ...(landlock ? [] : ['landlock: files are closed by one layer less']),
    ...(whole && !mounts && !isKept
      ? [`programs: a job can start none, and has no sockets, because ${unkept}`]
      : []),
    ...(isKept ? [withoutOwnSystem] : []),
    ...(whole && mounts && !facts.root && !options.hasLauncher
      ? ['own uid inside: without the launcher the program is uid 0 of its own user namespace']
      : []),
    ...(whole && mounts && !facts.proc ? ['/proc: the kernel gives none here'] : []),
    ...(whole && !isAsked && !isKept ? withoutSentinel(options) : []),
  ]
}

const withoutOwnSystem =
  'own system: a job finds no /proc, /dev/shm or terminal, and of sockets streams by file name and the way out'

function nothingHoldsFiles(): MayflyError {
  return new MayflyError(
    'NO_JAIL',
    'Cannot start a wall: neither namespaces nor Landlock can restrict its files on this machine',
    { hint: 'Run "mayfly doctor" for the missing features' },
  )
}

/** The jail as data; with `asking` also the filters that its first program loads. */
export function embeddedSpec(program: JailedProgram, facts: JailFacts, options: JailOptions) {
  const off = (layer: JailLayer) => options.without.includes(layer)
  const mounts = facts.namespaces && !off('namespaces')
  const uid = off('own uid') ? undefined : options.uid
  const asking = mounts && !off('seccomp') ? askingOf(program, options) : undefined
  const spec: JailSpec = {
    mounts,
    over: BUILT_OVER,
    ...(mounts ? placesInside(program, options) : placesOutside(program, options)),
    ...(asking && { exec: asking.exec }),
    scratchBytes: SCRATCH_BYTES,
    user: uid === undefined ? null : { uid, gid: uid },
    hostname: 'mayfly',
    landlock: facts.landlock > 0 && !off('landlock'),
    seccomp: off('seccomp') || asking ? null : filterFor(program, mounts, uid),
    limits: limitsOf(program, options),
    kept: program.whole ? keptBy(asking !== undefined) : KEPT_BY_WORKERS,
    whole: program.whole ? wholeSpec(program.whole, facts, options, mounts) : null,
  }
  return { spec, asking }
}

function enterBy(spec: JailSpec): readonly string[] {
  return [process.execPath, QUIET, '--max-semi-space-size=1', ENTER, JSON.stringify(spec)]
}

/**
 * Parent-death signal: each process that the warden starts dies with it. Its direct child gets the signal by `setpriv`
 * or by Mayfly's launcher and keeps it over execve; an entry program that only execs the guest sets the signal itself.
 */
function started(
  enter: readonly string[],
  facts: JailFacts,
  mounts: boolean,
  fds: readonly number[] | undefined,
) {
  const user = facts.root ? [] : userNamespaceFlags
  const [quiet, loud] = fds ? [silent, aloud] : [[], []]
  const unshare = [facts.unshare!, ...user, ...namespaceFlags, '--']
  const inside = mounts ? [...quiet, ...unshare, ...loud, ...enter] : enter
  const kept = fds ? [`keep=${fds.join()}`] : []
  const bound = mounts
    ? [process.execPath, QUIET, '--max-semi-space-size=1', DIE_WITH_PARENT, ...kept]
    : []
  const die = facts.setpriv ? [facts.setpriv, ...dieFlags, '--'] : bound
  const all = [...die, ...inside]
  return { file: all[0]!, args: all.slice(1) }
}

function keptBy(asks: boolean): readonly number[] {
  return asks ? [...programFds, wholeFilterFd, handOverFd] : programFds
}

/** `sentinel enter` runs before the program: it loads both filters and hands the notify fd to the sentinel outside. */
function askingOf(program: JailedProgram, options: JailOptions) {
  const { sentinel, calls = callClasses } = options
  if (!sentinel || 'missing' in sentinel || !program.whole) return undefined
  const exec = execWithInit(program, program.whole, options)
  return { filter: filtersFor(wholeFilter('sentinel'), calls), exec: enteredBy(exec) }
}

/** The program as `sentinel enter` execs it, after it has performed `steps` and loaded its filters. */
export function enteredBy(
  { path, args, env }: ReturnType<typeof wholeExec>,
  steps: readonly Step[] = [],
) {
  return { path: sentinelPath, args: ['sentinel', 'enter', ...steps.flat(), path, ...args], env }
}

/** Contents of the wall's root, and the program that starts in it. */
export function placesInside(program: JailedProgram, options: JailOptions) {
  const { mounts, links } = systemOf(program)
  return {
    tree: [...mounts, ...treeOf(program, options)],
    links: [...links, ...(program.links ?? [])],
    exec: program.whole ? execWithInit(program, program.whole, options) : execOf(program, options),
  }
}

/** Mounts and links of the host in a root; none for an image. */
function systemOf({ whole }: JailedProgram) {
  if (whole?.links) return { mounts: [], links: whole.links }
  const system = systemFolders()
  const more = whole ? wholeSystem() : { mounts: [], links: [] }
  return { mounts: [...system.mounts, ...more.mounts], links: [...system.links, ...more.links] }
}

/** Readable places (Landlock) of a wall without a root of its own. */
function placesOutside(program: JailedProgram, options: JailOptions) {
  const places = program.whole ? systemOfPrograms() : SYSTEM_OF_WORKERS
  const system = places.filter((place) => existsSync(place))
  return {
    tree: [
      ...system,
      ...treeOf(program, options),
      ...placesOf(program).map(({ from }) => from),
      ...(options.layers ?? []).map(({ root }) => root),
    ],
    links: [],
    exec: execOf(program, options),
  }
}

function treeOf(program: JailedProgram, { compiled }: JailOptions): readonly string[] {
  if (program.whole) return []
  return [process.execPath, ...program.tree, ...(compiled ? [compiled] : [])]
}

export function placesOf({ whole }: JailedProgram): readonly JailMount[] {
  return whole?.places ?? []
}

/** Command of a program in a wall without a root of its own. */
export function execOf(program: JailedProgram, options: JailOptions) {
  const { compiled } = options
  if (program.whole) return execOutside(program, program.whole, options)
  const cache = compiled ? { NODE_COMPILE_CACHE: compiled } : {}
  return {
    path: process.execPath,
    args: ['mayfly', QUIET, ...program.nodeFlags, program.main],
    env: { OPENSSL_CONF: '/dev/null', TZ: 'UTC', ...cache, ...program.env },
  }
}

/**
 * Keeps messages of a shell about a killed child out of the program's stderr: they go to the readiness pipe, which is
 * not read any more. Descriptor 3 is free until the program uses it.
 */
const silent = ['/bin/sh', '-c', 'exec 3>&2 2>&4; exec "$@"', 'sh']
const aloud = ['/bin/sh', '-c', 'exec "$@" 2>&3 3</dev/null', 'sh']
const INIT = `exec 3>&2 2>&4; ("$@" 2>&3 ${reserved}); exit $?`

/** Without OpenSSL's configuration file: Landlock denies it, and Node would abort at start. */
function execOutside(
  program: JailedProgram,
  whole: WholeProgram,
  { scratch, layers = [] }: JailOptions,
) {
  const folder = scratch ?? null
  const settings = {
    ...settingsInside(whole),
    work: folder,
    tmp: folder,
    listens: false,
    hasRoot: false,
    binding: whole.places.find(({ at }) => at === ownBinding)?.from,
    packages: layers.map(({ kind, root, content }) => ({ kind, at: `${root}/${content}` })),
  }
  const exec = wholeExec(program, whole, settings, [])
  return { ...exec, env: { ...exec.env, OPENSSL_CONF: '/dev/null' } }
}

/** With an init as process 1, which reaps orphans and forwards the exit code; the program itself is not PID 1. */
function execWithInit(program: JailedProgram, whole: WholeProgram, options: JailOptions) {
  const inside = execInside(program, whole, options)
  // busybox selects its program by argv[0].
  const name = whole.links ? 'sh' : 'init'
  return { ...inside, path: '/bin/sh', args: [name, '-c', INIT, 'init', ...inside.args] }
}

/** Command of a whole program in its own root, without an init. */
export function execInside(
  program: JailedProgram,
  whole: WholeProgram,
  { layers = [] }: JailOptions,
) {
  return wholeExec(program, whole, settingsInside(whole, layers), whole.places)
}

function wholeExec(
  { main, env }: JailedProgram,
  whole: WholeProgram,
  settings: WholeSettings,
  places: readonly JailMount[],
) {
  const [path, ...args] = runnerWords({ main, whole }, settings, places)
  return { path, args: [path, ...args], env: { ...wholeEnv, ...env } }
}

function placesFor(sentinel: CProgramLookup | undefined): readonly JailMount[] {
  if (!sentinel || 'missing' in sentinel) return []
  return [{ from: sentinel.file, at: sentinelPath }]
}

/** Missing layer of a wall without a sentinel, with the reason. */
export function withoutSentinel({ sentinel }: JailOptions): readonly string[] {
  if (!sentinel || !('missing' in sentinel)) return []
  return [`sentinel: ${sentinel.missing}; files, programs and sockets stay as open as they were`]
}

/** Parts that `guest/enter.js` builds in addition to the tree. */
function wholeSpec(
  whole: WholeProgram,
  facts: JailFacts,
  { uid, scratch, sentinel, hasLauncher, layers = [] }: JailOptions,
  mounts: boolean,
) {
  if (!mounts) return { writable: scratch ? [scratch, '/dev/null'] : ['/dev/null'] }
  return {
    scratchBytes: whole.scratchBytes,
    scratchFolders,
    layers,
    places: [...whole.places, ...placesFor(sentinel)],
    etc: etcFiles(uid ?? (hasLauncher && !facts.root ? ownUidInside : 0)),
    devices: deviceFiles,
    terminals: { at: terminalsFolder, options: terminalOptions },
    proc: facts.proc ? maskedProc() : null,
    settings: { at: settingsFolder, files: kernelSettings(), shown: uuidFile },
    workFolder,
    writable: [...scratchFolders, ...deviceFiles, terminalsFolder],
  }
}

/** Limits of a whole program by name; a value of Infinity is not set. */
export function wholeLimits(
  { scratchBytes }: WholeProgram,
  { isInGroup = false }: JailOptions,
): Readonly<Record<string, number>> {
  const data = dataBytesMaxOf(isInGroup)
  return { ...limitsOfWhole, fsize: scratchBytes, ...(data < Infinity && { data }) }
}

function limitsOf(program: JailedProgram, options: JailOptions): Readonly<Record<string, number>> {
  if (program.whole) return wholeLimits(program.whole, options)
  return {
    core: 1,
    nofile: NOFILE_MAX,
    ...(program.dataBytesMax !== undefined && { data: program.dataBytesMax }),
  }
}

const filters = new Map<'start' | FilterKind, string>()

/** Filter in hex, compiled and converted once. */
function filterFor({ whole }: JailedProgram, mounts: boolean, uid: number | undefined): string {
  const alone = uid === undefined ? 'alone' : 'alone, own uid'
  const kind = !whole ? 'start' : mounts ? 'namespaces' : alone
  const made = filters.get(kind) ?? compiledFilter(kind).toString('hex')
  filters.set(kind, made)
  return made
}

function compiledFilter(kind: 'start' | FilterKind): Buffer {
  return kind === 'start' ? compileSeccomp(readSeccompPolicy('start')) : wholeFilter(kind)
}

/** The second filter, which a worker loads itself when it is warm. */
export function narrowFilter(): string {
  return compileSeccomp(readSeccompPolicy('narrow')).toString('base64')
}
