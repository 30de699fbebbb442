import { existsSync, lstatSync, readlinkSync } from 'node:fs'
import { totalmem } from 'node:os'
import type { LayerKind } from '../contract/layer.ts'
import { cacheBriefly } from '../lib/cache-briefly.ts'
import { isBelow } from '../lib/is-below.ts'
import { compileSeccomp, readSeccompPolicy, policyWith } from '../os/seccomp.ts'
import { systemFiles } from './etc.ts'
import { systemCheckMs } from './facts.ts'

/** Settings of a wall for whole programs. */
export interface WholeProgram {
  /** Absolute path, below /usr or in one of `places`. */
  readonly interpreter: string
  /** Flags of the interpreter, before `main`. */
  readonly flags: readonly string[]
  /** /work, /tmp and /dev/shm together. */
  readonly scratchBytes: number
  /** True to run a dummy job before it is ready; false if a job waits for the wall. */
  readonly isWarm: boolean
  readonly hasThreads: boolean
  /** Mounts in addition to the system's folders. */
  readonly places: readonly JailMount[]
  /** Symlinks of its root. If set, `places` are the whole root, and no folder of the host is mounted. */
  readonly links?: readonly { readonly at: string; readonly target: string }[]
}

export interface JailMount {
  readonly from: string
  readonly at: string
}

/** A layer of packages: `root` is a folder of `owner`; its subfolder `content` is mounted read-only. */
export interface MountedLayer {
  readonly kind: LayerKind
  readonly root: string
  readonly content: string
  readonly owner: number
  readonly at: string
}

/** Folder of Mayfly's own files inside a wall. */
export const ownFolder = '/opt/mayfly'
/** Native binding of isolated-vm there. */
export const ownBinding = `${ownFolder}/native/isolated-vm.node`

/** Interpreter of programs in Python: the system's. */
export const pythonFile = '/usr/bin/python3'

/** Path inside a wall of a file of the host. */
export function pathInside(file: string, places: readonly JailMount[]): string {
  const place = places.find(({ from }) => isBelow(file, from))
  return place ? place.at + file.slice(place.from.length) : file
}

/** Settings of the runner, passed as its one argument. */
export interface WholeSettings {
  /** Folders of the job's files and of temporary files; null if writing is not allowed. */
  readonly work: string | null
  readonly tmp: string | null
  /** Folder of result and input, if not `tmp`: it stays writable when the others are closed. */
  readonly own?: string
  /** True if it has a listener for its egress path on 127.0.0.1, as descriptor 7. */
  readonly listens: boolean
  /** True if it has a root of its own; otherwise it cannot read folders above the job's. */
  readonly hasRoot: boolean
  readonly warm: boolean
  /** True to start all threads before it is ready. */
  readonly threads: boolean
  /** True if its machine is cloned while it waits: it then reseeds its random generators at its first frame. */
  readonly cloned?: boolean
  /** Native binding of isolated-vm, for a job that runs in a cell. */
  readonly binding?: string | undefined
  /** Mounted packages. */
  readonly packages: readonly { readonly kind: LayerKind; readonly at: string }[]
}

/** Settings of a runner whose wall has a root of its own. */
export function settingsInside(
  { isWarm, hasThreads }: WholeProgram,
  layers: readonly MountedLayer[] = [],
): WholeSettings {
  return {
    work: workFolder,
    tmp: tmpFolder,
    listens: true,
    hasRoot: true,
    binding: ownBinding,
    warm: isWarm,
    threads: hasThreads,
    packages: layers.map(({ kind, at }) => ({ kind, at })),
  }
}

/** Command of a runner, by its paths inside a wall with these mounts. */
export function runnerWords(
  { main, whole }: { readonly main: string; readonly whole: WholeProgram },
  settings: WholeSettings,
  places = whole.places,
): readonly [file: string, ...args: string[]] {
  const file = pathInside(whole.interpreter, places)
  return [file, ...whole.flags, pathInside(main, places), JSON.stringify(settings)]
}

export const workFolder = '/work'
export const tmpFolder = '/tmp'
export const sharedMemoryFolder = '/dev/shm'
/**
 * An instance of devpts for each wall, with a bound of its own: terminals of the host, and of other walls, have no name in
 * it. Each end of a terminal buffers 8 KiB in the kernel, which no limit of memory counts.
 */
export const terminalsFolder = '/dev/pts'
export const terminalOptions = 'newinstance,ptmxmode=0666,mode=0620,max=16'
/** Inodes of all scratch folders together. */
export const scratchInodesMax = 16_384
export const scratchFolders = [workFolder, tmpFolder, sharedMemoryFolder] as const
/** Uid inside a user namespace of the wall. */
export const ownUidInside = 1000
/** RLIMIT_CORE of one byte disables core dumps to files and to a core_pattern pipe; 0 disables only files. */
export const limitsOfWhole = { nofile: 1024, memlock: 2 ** 16, core: 1 } as const

/**
 * RLIMIT_DATA of each process of a wall. It counts reserved memory that is never touched (eight threads of Node take
 * 4.6 GiB, of which 110 MiB are resident), so a memory cgroup replaces it. The sampler measures memory only at
 * intervals; without a cgroup a process may therefore reserve no more than the machine's memory, which the kernel's
 * overcommit heuristic also refuses in one piece.
 */
export function dataBytesMaxOf(isInGroup: boolean): number {
  if (isInGroup) return Infinity
  return Math.max(DATA_BYTES_LEAST, Math.min(totalmem(), process.constrainedMemory() || Infinity))
}

const DATA_BYTES_LEAST = 4 * 2 ** 30
/** Descriptors of a program: a reserved one for the result, the readiness pipe and the socket to the server. */
export const programFds = [3, 4, 5] as const
/** Descriptor of the filter for bubblewrap; lower ones are the program's. */
export const wholeFilterFd = 6
/** Port of a wall's egress listener on its loopback, and the listener's descriptor. */
export const egressPort = 3128
export const egressListenerFd = 7
/**
 * Descriptor of the socket on which a wall's first program sends the number of its seccomp listener; the sentinel
 * copies the listener by pidfd_getfd(2).
 */
export const handOverFd = 8
/** Descriptor of the sentinel's program for bubblewrap, which copies it inside. */
export const sentinelDataFd = 9
/** Descriptors of a keeper, which is started in place of a launcher: frames of the warden, and copies of memory. */
export const controlFdOfKeeper = 8
export const captureFdOfKeeper = 9
/** Descriptor of the launcher that starts a whole program; it closes it itself. */
export const launcherFdOfWhole = 10
/** Path of the sentinel inside. */
export const sentinelPath = `${ownFolder}/sentinel`
/** Descriptors reserved before the interpreter opens files: 3 for the result, 7 for the egress listener. */
export const reservedFds = [3, egressListenerFd] as const
export const reserved = reservedFds.map((fd) => `${fd}</dev/null`).join(' ')

const DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty']
const DEVICE_LINKS = { fd: '', stdin: '/0', stdout: '/1', stderr: '/2' }
/**
 * Files and folders of /proc that describe the machine rather than the wall's processes. `/proc/sys` is replaced
 * separately, see `kernelSettings`.
 */
const MASKED_FOLDERS = 'bus irq acpi scsi driver fs pressure sysvipc'.split(' ')
const MASKED_FILES = [
  'sysrq-trigger kcore keys key-users timer_list kmsg kallsyms modules config.gz cmdline',
  'iomem ioports interrupts latency_stats slabinfo vmallocinfo pagetypeinfo diskstats',
  'kpagecount kpageflags kpagecgroup',
].flatMap((names) => names.split(' '))
const UNMERGED = ['/bin', '/sbin']

/** Symlinks of every root. */
export const linksOfWhole: readonly { readonly at: string; readonly target: string }[] = [
  { at: '/etc/os-release', target: '../usr/lib/os-release' },
  { at: '/etc/localtime', target: '/usr/share/zoneinfo/UTC' },
  ...Object.entries(DEVICE_LINKS).map(([name, below]) => ({
    at: `/dev/${name}`,
    target: `/proc/self/fd${below}`,
  })),
  { at: '/dev/ptmx', target: 'pts/ptmx' },
]

/** Mounts and links of the host in addition to the folders that every program needs. */
export const wholeSystem = cacheBriefly(systemCheckMs, () => {
  const unmerged = UNMERGED.filter((place) => existsSync(place))
  const links = unmerged.filter((place) => lstatSync(place).isSymbolicLink())
  return {
    mounts: [...unmerged.filter((place) => !links.includes(place)), ...systemFiles()],
    links: [...links.map((at) => ({ at, target: readlinkSync(at) })), ...linksOfWhole],
  }
})

/**
 * `tty` is the controlling terminal of the calling session; a wall has none from outside, so an open fails with ENXIO.
 */
export const deviceFiles = DEVICES.map((name) => `/dev/${name}`)

export interface MaskedProc {
  readonly folders: readonly string[]
  readonly files: readonly string[]
}

let masked: MaskedProc | undefined

/**
 * Parts of /proc to cover: folders by empty ones, files by /dev/null. Cached: they do not change while the kernel runs.
 */
export function maskedProc(): MaskedProc {
  const there = (names: readonly string[]) =>
    names.map((name) => `/proc/${name}`).filter((path) => existsSync(path))
  masked ??= { folders: there(MASKED_FOLDERS), files: there(MASKED_FILES) }
  return masked
}

/**
 * Without namespaces a program may create neither children nor sockets, unless it has a keeper. With a sentinel it may
 * use both, and the calls that the sentinel answers. Without a root of its own, changing modes of files needs a keeper
 * or a uid of the wall's own.
 */
export type FilterKind = keyof typeof HELD

const HELD = {
  alone: [],
  'alone, own uid': ['own uid'],
  kept: ['keeper'],
  'kept, own uid': ['keeper', 'own uid'],
  namespaces: ['namespaces'],
  sentinel: ['namespaces', 'sentinel'],
} as const

const filters = new Map<FilterKind, Buffer>()

/** The fixed filter of a whole program. */
export function wholeFilter(kind: FilterKind): Buffer {
  const made =
    filters.get(kind) ?? compileSeccomp(policyWith(readSeccompPolicy('process'), HELD[kind]))
  filters.set(kind, made)
  return made
}

/** Initial environment of the program; a job gets its own. */
export const wholeEnv = {
  PATH: `${ownFolder}/bin:/usr/local/bin:/usr/bin:/bin`,
  HOME: workFolder,
  TMPDIR: tmpFolder,
  LANG: 'C.UTF-8',
  TZ: 'UTC',
} as const
