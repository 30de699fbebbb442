import { existsSync, lstatSync, readlinkSync } from 'node:fs'
import { totalmem } from 'node:os'
import type { LayerKind } from '../contract/layer.ts'
import { cacheBriefly } from '../lib/cache-briefly.ts'
import { isBelow } from '../lib/is-below.ts'
import { compileSeccomp, readSeccompPolicy, policyWith } from '../os/seccomp.ts'
import { systemFiles } from './etc.ts'
import { systemLookMs } from './facts.ts'

/** Settings of a wall for whole programs. */
export interface WholeProgram {
  /** Absolute path, below /usr or in one of `places`. */
  readonly interpreter: string
  /** Flags of the interpreter, before `main`. */
  readonly flags: readonly string[]
  /** /work, /tmp and /dev/shm together. */
  readonly scratchBytes: number
  /** Runs a dummy job before it is ready; not where a job waits. */
  readonly isWarm: boolean
  readonly hasThreads: boolean
  /** Mounts beside this system's own folders. */
  readonly places: readonly JailMount[]
  /** Links of its root. If they are given, `places` are the whole root, and nothing of this system is mounted. */
  readonly links?: readonly { readonly at: string; readonly target: string }[]
}

export interface JailMount {
  readonly from: string
  readonly at: string
}

/** A layer of packages: `root` is a folder of `owner`, and what it holds below `content` is mounted read-only. */
export interface MountedLayer {
  readonly kind: LayerKind
  readonly root: string
  readonly content: string
  readonly owner: number
  readonly at: string
}

/** Mayfly's own files lie here inside, wherever they are outside. */
export const ownFolder = '/opt/mayfly'

/** Interpreter of programs in Python: the system's. */
export const pythonFile = '/usr/bin/python3'

/** Path inside of a file of this machine. */
export function insideOf(file: string, places: readonly JailMount[]): string {
  const place = places.find(({ from }) => isBelow(file, from))
  return place ? place.at + file.slice(place.from.length) : file
}

/** Settings of the runner, passed as its one argument. */
export interface WholeSettings {
  /** Folders of the job's files and of temporary ones; null where nothing may be written. */
  readonly work: string | null
  readonly tmp: string | null
  /** Folder of result and input where it is not `tmp`: it stays writable when the others are closed. */
  readonly own?: string
  /** Listens on 127.0.0.1 for what leaves the wall, by descriptor 7. */
  readonly listens: boolean
  /** Whether it has a root of its own: elsewhere no folder above the job's can be read. */
  readonly hasRoot: boolean
  readonly warm: boolean
  /** Whether it starts the threads that it works with before it is ready. */
  readonly threads: boolean
  /** Whether its machine is cloned while it waits: it draws its seeds anew at its first frame. */
  readonly cloned?: boolean
  /** Mounted packages. */
  readonly packages: readonly { readonly kind: LayerKind; readonly at: string }[]
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
/** The uid inside a user namespace of the wall's own. */
export const ownUidInside = 1000
/** A core dump of one byte is none, to a file or to a program of the host's; 0 would hold only for files. */
export const limitsOfWhole = { nofile: 1024, memlock: 2 ** 16, core: 1 } as const

/**
 * RLIMIT_DATA of each process of a wall. It counts what is reserved and never touched (eight threads of Node take 4.6 GiB,
 * of which 110 MiB are resident), so a cgroup that counts memory replaces it. A watch counts memory too, but between two
 * looks alone: there a process reserves no more than the machine has, which the kernel's own heuristic refuses in one
 * piece as well.
 */
export function dataBytesMaxOf(isInGroup: boolean): number {
  if (isInGroup) return Infinity
  return Math.max(DATA_BYTES_LEAST, Math.min(totalmem(), process.constrainedMemory() || Infinity))
}

const DATA_BYTES_LEAST = 4 * 2 ** 30
/** A place for the result, the readiness pipe and the socket to the server. */
export const programFds = [3, 4, 5] as const
/** Descriptor of the filter for bubblewrap; those below are the program's. */
export const wholeFilterFd = 6
/** Port on the loopback inside where a wall's egress path begins, and the descriptor of the socket that listens on it. */
export const egressPort = 3128
export const egressListenerFd = 7
/** Descriptor on which a wall's first program names its seccomp listener; the sentinel copies that by pidfd_getfd(2). */
export const handOverFd = 8
/** Descriptor of the sentinel's program for bubblewrap, which copies it inside. */
export const sentinelDataFd = 9
/** Descriptors of a keeper, which is started in the place of a launcher: frames of the warden, and copies of memory. */
export const controlFdOfKeeper = 8
export const captureFdOfKeeper = 9
/** Descriptor of the launcher that starts a whole program; it closes it itself. */
export const launcherFdOfWhole = 10
/** Path of the sentinel inside. */
export const sentinelPlace = `${ownFolder}/sentinel`
/** Taken before the program takes them for itself: 3 for its result, 7 to listen on for what leaves the wall. */
export const reservedFds = [3, egressListenerFd] as const
export const reserved = reservedFds.map((fd) => `${fd}</dev/null`).join(' ')

const DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty']
const DEVICE_LINKS = { fd: '', stdin: '/0', stdout: '/1', stderr: '/2' }
/**
 * Files and folders of /proc that describe the machine rather than the wall's processes. `/proc/sys` is a folder of its
 * own instead, see `kernelSettings`.
 */
const MASKED_FOLDERS = 'bus irq acpi scsi driver fs pressure sysvipc'.split(' ')
const MASKED_FILES = [
  'sysrq-trigger kcore keys key-users timer_list kmsg kallsyms modules config.gz cmdline',
  'iomem ioports interrupts latency_stats slabinfo vmallocinfo pagetypeinfo diskstats',
  'kpagecount kpageflags kpagecgroup',
].flatMap((names) => names.split(' '))
const UNMERGED = ['/bin', '/sbin']

/** Links of every root. */
export const linksOfWhole: readonly { readonly at: string; readonly target: string }[] = [
  { at: '/etc/os-release', target: '../usr/lib/os-release' },
  { at: '/etc/localtime', target: '/usr/share/zoneinfo/UTC' },
  ...Object.entries(DEVICE_LINKS).map(([name, below]) => ({
    at: `/dev/${name}`,
    target: `/proc/self/fd${below}`,
  })),
  { at: '/dev/ptmx', target: 'pts/ptmx' },
]

/** Mounts and links of this system beside the folders that every program needs. */
export const wholeSystem = cacheBriefly(systemLookMs, () => {
  const unmerged = UNMERGED.filter((place) => existsSync(place))
  const links = unmerged.filter((place) => lstatSync(place).isSymbolicLink())
  return {
    mounts: [...unmerged.filter((place) => !links.includes(place)), ...systemFiles()],
    links: [...links.map((at) => ({ at, target: readlinkSync(at) })), ...linksOfWhole],
  }
})

/** `tty` is the terminal of its caller's own session, of which no wall has one from outside: ENXIO. */
export const deviceFiles = DEVICES.map((name) => `/dev/${name}`)

export interface MaskedProc {
  readonly folders: readonly string[]
  readonly files: readonly string[]
}

let masked: MaskedProc | undefined

/** Parts of /proc to cover: folders by empty ones, files by /dev/null. Looked up once: a kernel keeps them. */
export function maskedProc(): MaskedProc {
  const there = (names: readonly string[]) =>
    names.map((name) => `/proc/${name}`).filter((path) => existsSync(path))
  masked ??= { folders: there(MASKED_FOLDERS), files: there(MASKED_FILES) }
  return masked
}

/**
 * A wall without namespaces has no children and no sockets, unless it has a keeper; one with a sentinel has both, and calls
 * that it answers. Modes of files need a keeper, or a uid of the wall's own, where there is no root of its own.
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

/** The environment the program itself starts with; a job gets its own. */
export const wholeEnv = {
  PATH: `${ownFolder}/bin:/usr/local/bin:/usr/bin:/bin`,
  HOME: workFolder,
  TMPDIR: tmpFolder,
  LANG: 'C.UTF-8',
  TZ: 'UTC',
} as const
