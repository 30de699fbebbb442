import { existsSync, lstatSync, readlinkSync } from 'node:fs'
import type { LayerKind } from '../contract/layer.ts'
import {
  compileSeccomp,
  readSeccompPolicy,
  withoutNamespaces,
  type SeccompPolicy,
} from '../os/seccomp.ts'

/** What a wall for whole programs has, which a worker has not. */
export interface WholeProgram {
  /** What is started: absolute, below /usr or in a place given. */
  readonly interpreter: string
  /** Its own flags, before `main`. */
  readonly flags: readonly string[]
  /** /work, /tmp and /dev/shm together. */
  readonly scratchBytes: number
  /** Whether it gets ready for a job that is still to come; not where one waits. */
  readonly isWarm: boolean
  readonly hasThreads: boolean
  /** What it needs beside this system's own folders, and where that lies inside. */
  readonly places: readonly Place[]
}

export interface Place {
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

/** Ours lies here inside, wherever it is outside: a job's own folders have fixed names too. */
export const ownFolder = '/opt/mayfly'

/** Where a file of this machine lies inside. */
export function insideOf(file: string, places: readonly Place[]): string {
  const place = places.find(({ from }) => file === from || file.startsWith(`${from}/`))
  return place ? place.at + file.slice(place.from.length) : file
}

/** What the program is told when it starts, as its one argument. */
export interface WholeSettings {
  /** Where the job's files lie, and where temporary ones do. None where nothing may be written. */
  readonly work: string | null
  readonly tmp: string | null
  /** Listens on 127.0.0.1 for what leaves the wall, by descriptor 7. */
  readonly listens: boolean
  /** Whether it may start other programs. */
  readonly starts: boolean
  readonly warm: boolean
  /** Whether it starts the threads that it works with before it is ready. */
  readonly threads: boolean
  /** Where its packages are. */
  readonly packages: readonly { readonly kind: LayerKind; readonly at: string }[]
}

export const workFolder = '/work'
export const tmpFolder = '/tmp'
export const sharedMemoryFolder = '/dev/shm'
export const scratchFolders = [workFolder, tmpFolder, sharedMemoryFolder] as const
/** The uid inside, where bubblewrap maps one. */
export const ownUidInside = 1000
/** A core dump of one byte is none, to a file or to a program of the host's; 0 would hold only for files. */
export const limitsOfWhole = { nofile: 1024, data: 4 * 2 ** 30, memlock: 2 ** 16, core: 1 } as const
/** A place for the result, the readiness pipe and the socket to the server. */
export const keptFds = [3, 4, 5] as const
/** Where bubblewrap is given the filter: the descriptors before it are the program's. */
export const wholeFilterFd = 6
/** Where a wall's first program hands over, to its sentinel, what its calls are asked on. */
export const handOverFd = 8
/** Where bubblewrap is given the sentinel's own program, which it copies inside. */
export const sentinelDataFd = 9
/** Where it lies inside. */
export const sentinelPlace = `${ownFolder}/sentinel`
/** Taken before the program takes them for itself: 3 for its result, 7 to listen on for what leaves the wall. */
export const reserved = '3</dev/null 7</dev/null'

const DEVICES = ['null', 'zero', 'full', 'random', 'urandom']
const DEVICE_LINKS = { fd: '', stdin: '/0', stdout: '/1', stderr: '/2' }
/** What /proc tells of the machine rather than of the wall's own processes. */
const MASKED_FOLDERS = 'sys bus irq acpi scsi driver fs pressure sysvipc'.split(' ')
const MASKED_FILES = [
  'sysrq-trigger kcore keys key-users timer_list kmsg kallsyms modules config.gz cmdline',
  'iomem ioports interrupts latency_stats slabinfo vmallocinfo pagetypeinfo diskstats',
  'kpagecount kpageflags kpagecgroup',
].flatMap((names) => names.split(' '))
/** Facts of this system that programs look up and that tell nothing of who uses it. */
export const systemFiles = [
  '/etc/alternatives',
  '/etc/ssl/certs',
  '/etc/ssl/openssl.cnf',
  '/etc/ld.so.cache',
  // Without its file matplotlib does not load, and without a configuration fontconfig complains to stderr.
  '/etc/matplotlibrc',
  '/etc/fonts',
  '/etc/mime.types',
  '/etc/services',
  '/etc/protocols',
  '/etc/os-release',
]
const UNMERGED = ['/bin', '/sbin']

/** `/etc` of a wall: made by us, the same for everybody. */
export function etcFiles(uid: number): Readonly<Record<string, string>> {
  const own = uid === 0 ? '' : `mayfly:x:${uid}:${uid}:mayfly:/work:/bin/sh\n`
  const ownGroup = uid === 0 ? '' : `mayfly:x:${uid}:\n`
  return {
    '/etc/passwd': `root:x:0:0:root:/work:/bin/sh\n${own}nobody:x:65534:65534:nobody:/:/bin/false\n`,
    '/etc/group': `root:x:0:\n${ownGroup}nogroup:x:65534:\n`,
    '/etc/hosts': '127.0.0.1 localhost mayfly\n::1 localhost\n',
    '/etc/nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
    '/etc/resolv.conf': '',
    '/etc/host.conf': 'multi on\n',
  }
}

/** What of this system is there beside the folders every program needs: places to mount, links to repeat. */
export function wholeSystem() {
  const unmerged = UNMERGED.filter((place) => existsSync(place))
  const links = unmerged.filter((place) => lstatSync(place).isSymbolicLink())
  return {
    mounts: [
      ...unmerged.filter((place) => !links.includes(place)),
      ...systemFiles.filter((place) => existsSync(place)),
    ],
    links: [
      ...links.map((at) => ({ at, target: readlinkSync(at) })),
      { at: '/etc/localtime', target: '/usr/share/zoneinfo/UTC' },
      ...Object.entries(DEVICE_LINKS).map(([name, below]) => ({
        at: `/dev/${name}`,
        target: `/proc/self/fd${below}`,
      })),
    ],
  }
}

export const deviceFiles = DEVICES.map((name) => `/dev/${name}`)

/** What of /proc is covered: folders by empty ones, files by /dev/null. */
export function maskedProc() {
  const there = (name: string) => existsSync(`/proc/${name}`)
  return {
    folders: MASKED_FOLDERS.filter(there).map((name) => `/proc/${name}`),
    files: MASKED_FILES.filter(there).map((name) => `/proc/${name}`),
  }
}

const filters = new Map<boolean, Buffer>()

/** The filter of a whole program. One without namespaces has no children and no sockets. */
export function wholeFilter(namespaces: boolean): Buffer {
  const made = filters.get(namespaces) ?? compileSeccomp(wholePolicy(namespaces))
  filters.set(namespaces, made)
  return made
}

function wholePolicy(namespaces: boolean): SeccompPolicy {
  const policy = readSeccompPolicy('process')
  return namespaces ? policy : withoutNamespaces(policy)
}

/** The environment the program itself starts with; a job gets its own. */
export const wholeEnv = {
  PATH: `${ownFolder}/bin:/usr/local/bin:/usr/bin:/bin`,
  HOME: workFolder,
  TMPDIR: tmpFolder,
  LANG: 'C.UTF-8',
  TZ: 'UTC',
} as const
