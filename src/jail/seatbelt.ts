import { existsSync, realpathSync, statSync } from 'node:fs'
import path from 'node:path'

/**
 * Jail of one process by Seatbelt, the mandatory access control of macOS, applied by `sandbox-exec`.
 *
 * Problem: macOS has no namespaces, seccomp, Landlock or cgroups, and a guest has the uid of the user who started Mayfly.
 * Mechanism: a profile that denies by default. The kernel checks each operation of the process against it, also after an
 * exec, and nothing can lift it. It allows one program, its files, a writable folder where the wall has one, and signals to itself;
 * no rule allows a child process, a socket, another's process, a Mach service or a device driver. Paths are parameters
 * (`-D`), so that no path is read as profile text.
 *
 * Relies on: `/usr/bin/sandbox-exec`, deprecated by Apple and part of every macOS so far; the operation names of macOS 12 and
 * later. dyld aborts a process (SIGABRT, without a message) that cannot read `/` itself, the dyld cache or its libraries.
 * Paths are compared after links are resolved, so each is resolved first.
 *
 * Not handled: limits. Memory, CPU time and disk are sampled (`src/warden/engines/processes/seatbelt/`). **Never run on macOS by its
 * makers**: tests check the text, and play `sandbox-exec` on Linux by Landlock and seccomp; a Mac's own proof decides.
 *
 * Source of the idea: the profiles of Chromium's helpers (sandbox/policy/mac) and of Apple's own services.
 */

/** Files that a process may use; each path with everything below it. */
export interface SeatbeltPlaces {
  /** Executable file of its only program. */
  readonly program: string
  readonly readable: readonly string[]
  readonly writable: readonly string[]
}

export const sandboxExec = '/usr/bin/sandbox-exec'

/** Libraries and data of the system that a dynamically linked program maps or reads at its start. */
const LIBRARIES = [
  '/usr/lib',
  '/System/Library',
  '/System/Cryptexes/OS',
  '/System/Volumes/Preboot/Cryptexes/OS',
]
const DATA = ['/usr/share/icu', '/usr/share/zoneinfo', '/private/var/db/timezone']
/** Folders of Homebrew, whose Node is linked with libraries beside it. */
const BREW = ['/opt/homebrew', '/usr/local'].flatMap((root) => [`${root}/Cellar`, `${root}/opt`])
/**
 * Values about the processor and the system, none about other processes. `kern.hostname` is there because uname(3) fails as a
 * whole without it, and with it the import of `node:os`.
 */
const SYSCTLS = [
  'hw.activecpu hw.byteorder hw.cachelinesize hw.cpufamily hw.cpusubtype hw.cputype hw.l1dcachesize',
  'hw.l1icachesize hw.l2cachesize hw.l3cachesize hw.logicalcpu hw.logicalcpu_max hw.machine hw.memsize hw.ncpu',
  'hw.pagesize hw.pagesize_compat hw.physicalcpu hw.physicalcpu_max hw.tbfrequency kern.argmax',
  'kern.hostname kern.maxfilesperproc kern.osproductversion kern.osrelease kern.ostype kern.osvariant_status kern.osversion',
  'kern.usrstack64 kern.version sysctl.proc_translated',
].flatMap((names) => names.split(' '))
const SYSCTL_PREFIXES = ['hw.optional.', 'hw.perflevel']

/**
 * Text of a profile for so many readable and writable paths, and so many folders above them. Its parameters are PROGRAM,
 * READ_n, WRITE_n and ABOVE_n.
 */
export function seatbeltProfile(readable: number, writable: number, above: number): string {
  return `${[
    '(version 1)',
    '(deny default)',
    // Without these, a profile allows them: "default" does not include them.
    '(deny process-info* nvram* iokit-get-properties file-map-executable)',
    // F_MAKECOMPRESSED and F_TRANSFEREXTENTS change a file by a descriptor for reading.
    '(deny system-fcntl (fcntl-command 80 110))',
    '(allow process-info* (target self))',
    '(allow signal (target self))',
    '(allow process-exec (literal (param "PROGRAM")))',
    rule('sysctl-read', [
      ...SYSCTLS.map((name) => `(sysctl-name "${name}")`),
      ...SYSCTL_PREFIXES.map((name) => `(sysctl-name-prefix "${name}")`),
    ]),
    rule('file-read* file-map-executable', LIBRARIES.map(below)),
    rule('file-read-metadata', unique(LIBRARIES.flatMap(foldersAbove)).map(file)),
    // Code that Rosetta has translated, of root's.
    rule('file-map-executable', [below('/private/var/db/oah')]),
    rule('file-read*', ['(literal "/")', ...DATA.map(below)]),
    rule('file-read*', ['/dev/random', '/dev/urandom', '/dev/zero'].map(file)),
    rule('file-read* file-write-data file-ioctl', [file('/dev/null')]),
    rule('file-read-metadata', numbered(above, 'ABOVE').map(parameter('literal'))),
    rule('file-read* file-map-executable', [
      '(literal (param "PROGRAM"))',
      ...numbered(readable, 'READ').map(parameter('subpath')),
    ]),
    rule('file-read* file-write*', numbered(writable, 'WRITE').map(parameter('subpath'))),
    // An immutable file, or one whose list denies its deletion, could not be removed afterwards.
    '(deny file-write-acl file-write-flags file-write-setugid)',
  ]
    .filter(Boolean)
    .join('\n')}\n`
}

/** Command that starts a program in its jail. Throws ENOENT where a path is missing. */
export function seatbeltCommand(
  places: SeatbeltPlaces,
  args: readonly string[],
  by: string = sandboxExec,
): { readonly file: string; readonly args: readonly string[] } {
  const program = realpathSync(places.program)
  const brew = BREW.some((folder) => program.startsWith(`${folder}/`)) ? BREW : []
  const readable = unique([...places.readable, ...brew.filter(isFolder)].map(real))
  const writable = unique(places.writable.map(real))
  const above = unique([program, ...readable, ...writable].flatMap(foldersAbove))
  const given = [
    ['PROGRAM', program],
    ...readable.map((place, at) => [`READ_${at}`, place]),
    ...writable.map((place, at) => [`WRITE_${at}`, place]),
    ...above.map((place, at) => [`ABOVE_${at}`, place]),
  ]
  const profile = seatbeltProfile(readable.length, writable.length, above.length)
  const parameters = given.flatMap((pair) => ['-D', pair.join('=')])
  return { file: by, args: ['-p', profile, ...parameters, program, ...args] }
}

function rule(operations: string, filters: readonly string[]): string {
  return filters.length === 0 ? '' : `(allow ${operations}\n  ${filters.join('\n  ')})`
}

const below = (place: string) => `(subpath "${place}")`
const file = (place: string) => `(literal "${place}")`
const parameter = (filter: string) => (name: string) => `(${filter} (param "${name}"))`
const numbered = (count: number, name: string) =>
  Array.from({ length: count }, (_, at) => `${name}_${at}`)
const unique = (places: readonly string[]) => [...new Set(places)].sort()
const real = (place: string) => realpathSync(place)
const isFolder = (place: string) => existsSync(place) && statSync(place).isDirectory()

/** Folders above a path, without `/`: a module loader asks for the metadata of each. */
function foldersAbove(place: string): readonly string[] {
  const above = path.dirname(place)
  return above === '/' ? [] : [above, ...foldersAbove(above)]
}
