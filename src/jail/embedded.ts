import { existsSync, readlinkSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { compileSeccomp, readSeccompPolicy } from '../os/seccomp.ts'
import {
  namespaceFlags,
  systemFolders,
  userNamespaceFlags,
  type JailFacts,
  type Layer,
} from './facts.ts'

/**
 * The jail that needs nothing installed: util-linux's `unshare` for the namespaces, then `guest/enter.js` for the
 * rest. Without `unshare`, or where namespaces are forbidden, the same entry without a root of its own.
 */

/** A program to jail. Paths in `tree` and `main` are those inside, below `/mayfly`. */
export interface JailedProgram {
  readonly name: string
  readonly nodeFlags: readonly string[]
  readonly main: string
  readonly env: Readonly<Record<string, string>>
  /** Read-only: host path, place inside. Outside of a mount namespace it is reached by its host path. */
  readonly tree: readonly { readonly from: string; readonly to: string }[]
  /** RLIMIT_DATA; none for a program that reserves address space it never touches. */
  readonly dataBytesMax?: number
}

export interface JailOptions {
  /** The uid the wall gets as its own; none for an ordinary user. */
  readonly uid: number | undefined
  readonly without: readonly Layer[]
}

export interface JailCommand {
  readonly way: 'embedded' | 'bubblewrap'
  readonly file: string
  readonly args: readonly string[]
  /** Whether the program is the child of what is started (which then must die with it). */
  readonly nested: boolean
  /** The first seccomp filter, where the launcher takes it on a descriptor. */
  readonly filter?: Buffer
  readonly layers: readonly string[]
  readonly missing: readonly string[]
}

const SCRATCH_BYTES = 2 ** 20
const NOFILE_MAX = 256
/** Only this namespace sees what is built over it. */
const BUILT_OVER = '/tmp'
const ENTER = fileURLToPath(new URL('../../guest/enter.js', import.meta.url))
const QUIET = '--disable-warning=ExperimentalWarning'

export function composeEmbedded(
  program: JailedProgram,
  facts: JailFacts,
  options: JailOptions,
): JailCommand {
  const off = (layer: Layer) => options.without.includes(layer)
  const mounts = facts.namespaces && !off('namespaces')
  const landlock = facts.landlock > 0 && !off('landlock')
  const uid = off('own uid') ? undefined : options.uid
  const spec = {
    mounts,
    over: BUILT_OVER,
    ...(mounts ? placesInside(program) : placesOutside(program)),
    scratchBytes: SCRATCH_BYTES,
    user: uid === undefined ? null : { uid, gid: uid },
    hostname: 'mayfly',
    landlock,
    seccomp: off('seccomp') ? null : startFilter(),
    limits: {
      core: 0,
      nofile: NOFILE_MAX,
      ...(program.dataBytesMax !== undefined && { data: program.dataBytesMax }),
    },
  }
  const enter = [process.execPath, QUIET, '--max-semi-space-size=1', ENTER, JSON.stringify(spec)]
  return {
    way: 'embedded',
    ...started(enter, facts, mounts),
    nested: mounts,
    layers: [
      ...(mounts
        ? [
            facts.root ? 'namespaces' : 'user namespace',
            'network namespace',
            'pid namespace',
            'empty root',
          ]
        : []),
      ...(uid === undefined ? [] : ['own uid']),
      ...(landlock ? ['landlock'] : []),
      ...(off('seccomp') ? [] : ['seccomp']),
    ],
    missing: [
      ...(mounts
        ? []
        : [
            'namespaces: the network, the process table and the files are closed by seccomp and Landlock alone',
          ]),
      ...(uid === undefined ? ['own uid: walls share the uid of whoever started Mayfly'] : []),
      ...(landlock ? [] : ['landlock: files are closed by one layer less']),
    ],
  }
}

/** Everything the warden starts dies with it: the signal is set by `setpriv`, or else by the program itself. */
function started(enter: readonly string[], facts: JailFacts, mounts: boolean) {
  const user = facts.root ? [] : userNamespaceFlags
  const inside = mounts ? [facts.unshare!, ...user, ...namespaceFlags, '--', ...enter] : enter
  const all = facts.setpriv ? [facts.setpriv, '--pdeathsig', 'KILL', '--', ...inside] : inside
  return { file: all[0]!, args: all.slice(1) }
}

/** What a root of its own holds, and what is started in it. */
export function placesInside(program: JailedProgram) {
  const system = systemFolders()
  return {
    tree: [
      ...system.mounts.map((folder) => ({ from: folder, to: folder.slice(1) })),
      { from: process.execPath, to: 'mayfly/node' },
      ...program.tree.map(({ from, to }) => ({ from, to: `mayfly/${to}` })),
    ],
    links: system.links.map((folder) => ({ at: folder.slice(1), target: readlinkSync(folder) })),
    exec: execOf(program, '/mayfly/node', `/mayfly/${program.main}`),
  }
}

/** The same without a root of its own: only these may be read. */
function placesOutside(program: JailedProgram) {
  const system = ['/usr', '/lib', '/lib64', '/dev/null'].filter((place) => existsSync(place))
  const readable = [...system, process.execPath, ...program.tree.map(({ from }) => from)]
  return {
    tree: readable.map((from) => ({ from, to: '' })),
    links: [],
    exec: execOf(program, process.execPath, hostPath(program)),
  }
}

function execOf(program: JailedProgram, path: string, main: string) {
  return {
    path,
    args: ['mayfly', QUIET, ...program.nodeFlags, main],
    env: { OPENSSL_CONF: '/dev/null', TZ: 'UTC', ...program.env },
  }
}

/** Where the main file lies on the host: in the tree entry that holds it. */
function hostPath(program: JailedProgram): string {
  const holder = program.tree.find(
    ({ to }) => program.main === to || program.main.startsWith(`${to}/`),
  )
  if (!holder) throw new Error(`Cannot find "${program.main}" in the tree of "${program.name}"`)
  return holder.from + program.main.slice(holder.to.length)
}

let compiled: string | undefined

function startFilter(): string {
  compiled ??= compileSeccomp(readSeccompPolicy('start')).toString('base64')
  return compiled
}

/** The second filter, which a program loads itself when it is warm. */
export function narrowFilter(): string {
  return compileSeccomp(readSeccompPolicy('narrow')).toString('base64')
}
