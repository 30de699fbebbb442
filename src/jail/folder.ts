import { existsSync, lstatSync, readFileSync, readlinkSync } from 'node:fs'
import { parseJson } from '../lib/parse-json.ts'
import { isBelow } from '../lib/is-below.ts'
import { canonicalPath } from '../lib/real-path.ts'
import {
  compileSeccomp,
  policyWith,
  readSeccompPolicy,
  type SeccompPolicy,
  type SeccompRule,
} from '../os/seccomp.ts'
import type { FolderBind, FolderWallSpec } from '../contract/folder.ts'
import { step, tmpfsOptions, Trees, type Step } from './launch-steps.ts'
import { maskedProc, terminalOptions, terminalsFolder } from './whole.ts'

interface FolderPolicy {
  readonly names: readonly { readonly name: string; readonly rule: string }[]
  readonly calls: {
    readonly asked: readonly {
      readonly call: string
      readonly why: string
      /** Not notified for these arguments. */
      readonly unless?: NonNullable<SeccompRule['where']>
    }[]
    readonly inPlaceOf: readonly { readonly call: string }[]
  } & Pick<SeccompPolicy, 'allow'> &
    Required<Pick<SeccompPolicy, 'refuse' | 'answer'>>
  readonly system: {
    readonly shown: readonly string[]
    readonly closed: readonly { readonly path: string }[]
  }
}

let read: FolderPolicy | undefined

export function folderPolicy(): FolderPolicy {
  const file = new URL('../../policies/folder.json', import.meta.url)
  read ??= parseJson(readFileSync(file, 'utf8')) as FolderPolicy
  return read
}

/** Limit of scratch files, as a share of the memory limit. */
const SCRATCH_SHARE = 0.25
const SCRATCH_INODES_MAX = 2_000_000
const ROOT_BYTES_MAX = 4 * 2 ** 20
const ROOT_INODES_MAX = 4096
const DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty'].map((name) => `/dev/${name}`)
const DEVICE_LINKS = { fd: '', stdin: '/0', stdout: '/1', stderr: '/2' }
/** Mount point over which the root is built, in the wall's mount namespace only. */
const OVER = '/tmp'

/**
 * The wall of a command in a folder of the host, as arguments of `guest/folder/folder.c`: the permitted paths, and the
 * steps that build its root.
 */
export function folderWallArguments(wall: FolderWallSpec): readonly string[] {
  const steps = rootSteps(wall).flat()
  const { names, calls } = folderPolicy()
  return [
    `uid=${wall.uid}`,
    `gid=${wall.gid}`,
    `folder=${wall.folder}`,
    ...wall.binds.map(({ path: place, isWritable }) => `bind=${isWritable ? 'w' : 'r'}:${place}`),
    ...names.map(({ name, rule }) => `rule=${rule}:${name}`),
    ...wall.secretNames.map((name) => `rule=ra:${name}`),
    ...wall.closed.map(({ path: place, to }) => `deny=${to === 'all' ? 'a' : 'w'}:${place}`),
    ...wall.lifted.map((place) => `lift=${place}`),
    `terminals=${wall.terminals.reduce((bits, fd) => bits | (1 << fd), 0)}`,
    `timeout=${wall.timeoutMs ?? 0}`,
    // 0 means that a control group holds it.
    `memory=${wall.isMemoryHeld ? 0 : Math.max(1, wall.memoryBytes)}`,
    `processes=${wall.processes}`,
    `egress=${wall.egressPort ?? 0}`,
    `asking=${askingFilter(calls.asked).toString('hex')}`,
    `fixed=${fixedFilter(calls).toString('hex')}`,
    'steps',
    `${steps.length}`,
    ...steps,
    'command',
    `${wall.command.length}`,
    ...wall.command,
  ]
}

function askingFilter(asked: FolderPolicy['calls']['asked']): Buffer {
  return compileSeccomp({
    name: 'folder',
    otherwise: 'allow',
    allow: asked.flatMap(({ call, why, unless }) => (unless ? [{ call, why, where: unless }] : [])),
    answer: asked.map(({ call, why }) => ({ call, why, with: 'notify' as const })),
  })
}

/** Filter of whole programs, with calls that a folder on a disk needs. */
function fixedFilter({ inPlaceOf, refuse, allow, answer }: FolderPolicy['calls']): Buffer {
  const base = policyWith(readSeccompPolicy('process'), ['namespaces', 'sentinel'])
  const replaced = new Set(inPlaceOf.map(({ call }) => call))
  return compileSeccomp({
    ...base,
    refuse: [...(base.refuse ?? []).filter(({ call }) => !replaced.has(call)), ...refuse],
    allow: [...base.allow, ...allow],
    answer: [...(base.answer ?? []), ...answer],
  })
}

/** The root: this system's folders read-only, scratch in memory, the folder itself. */
function rootSteps(wall: FolderWallSpec): readonly Step[] {
  const { uid, gid, binds, view, folder, groups = [] } = wall
  const trees = new Trees()
  if (groups.length > 0) trees.add(step('group', ...groups))
  trees.add(step('in-namespaces', uid, gid))
  // Mounted over the folder itself, while its host path is still visible; then cloned like any other mount.
  if (view) trees.add(step('overlay', folder, view.upper, view.work, folder))
  const system = systemPlaces(binds)
  const grabbed = system.mounts.map((at) => ({ at, index: trees.grab(at) }))
  const bound = binds
    .toSorted((a, b) => a.path.length - b.path.length)
    .map(({ path: at, isWritable }) => ({ at, isWritable, index: trees.grabReal(at) }))
  trees.add(step('tmpfs', OVER, tmpfsOptions(ROOT_BYTES_MAX, ROOT_INODES_MAX)))
  trees.add(...grabbed.map(({ at, index }) => step('attach-readonly', index, OVER + at)))
  addDevices(trees)
  addScratch(trees, wall)
  trees.add(
    ...bound.map(({ at, isWritable, index }) =>
      step(isWritable ? 'attach-writable' : 'attach-readonly', index, OVER + at),
    ),
  )
  trees.add(...ownFiles(wall))
  addResolver(trees)
  addClosed(trees, wall)
  addProc(trees)
  trees.add(
    ...system.links.map(({ at, target }) => step('link', target, OVER + at)),
    step('pivot', OVER),
    step('readonly', '/'),
    step('hostname', 'mayfly'),
    step('loopback'),
  )
  return trees.steps
}

/** Names this wall's own answers to look-ups (`guest/folder/lookups.c`). */
const RESOLV_CONF = '/etc/resolv.conf'
const OWN_RESOLV_CONF = '/mayfly/resolv.conf'
const RESOLVER = 'nameserver 127.0.0.1\n'

/**
 * Shows that file. A link of the host's that leads out of the shown folders stays dangling: libraries then ask 127.0.0.1 anyway.
 */
function addResolver(trees: Trees): void {
  const place = canonicalPath(RESOLV_CONF)
  const isThere = lstatSync(place, { throwIfNoEntry: false })?.isFile() === true
  if (!isThere || !folderPolicy().system.shown.some((folder) => isBelow(place, folder))) return
  trees.add(step('file', '444', OVER + OWN_RESOLV_CONF, RESOLVER))
  trees.add(step('attach', trees.grab(OVER + OWN_RESOLV_CONF), OVER + place))
}

function ownFiles({ files = {} }: FolderWallSpec): readonly Step[] {
  return Object.entries(files).map(([at, text]) =>
    step('file', '444', OVER + at, ...(text.match(/[^]{1,32768}/g) ?? [''])),
  )
}

/** Folders of the host, without those inside a bound folder. */
function systemPlaces(binds: readonly FolderBind[]) {
  const places = folderPolicy().system.shown.flatMap((at) => {
    const facts = lstatSync(at, { throwIfNoEntry: false })
    const isBound = binds.some(({ path: bound }) => isBelow(at, bound))
    return facts && !isBound ? [{ at, isLink: facts.isSymbolicLink() }] : []
  })
  return {
    mounts: places.filter(({ isLink }) => !isLink).map(({ at }) => at),
    links: places
      .filter(({ isLink }) => isLink)
      .map(({ at }) => ({ at, target: readlinkSync(at) })),
  }
}

function addDevices(trees: Trees): void {
  trees.add(step('folder', '755', `${OVER}/dev`))
  for (const device of DEVICES) trees.bind(device, OVER + device, 'attach')
  trees.add(
    step('terminals', OVER + terminalsFolder, terminalOptions),
    ...Object.entries(DEVICE_LINKS).map(([name, below]) =>
      step('link', `/proc/self/fd${below}`, `${OVER}/dev/${name}`),
    ),
    step('link', 'pts/ptmx', `${OVER}/dev/ptmx`),
  )
}

/** Scratch folders, parts of one tmpfs: HOME is one of them. */
function addScratch(trees: Trees, { home, binds, memoryBytes }: FolderWallSpec): void {
  const isBound = (at: string) => binds.some(({ path: bound }) => isBelow(at, bound))
  const homes = home === undefined || isBound(home) ? [] : [{ at: home, mode: '700' }]
  const temporary = ['/tmp', '/var/tmp', '/run'].map((at) => ({ at, mode: '1777' }))
  const folders = [
    { at: '/dev/shm', mode: '1777' },
    ...temporary.filter(({ at }) => !isBound(at)),
    ...homes,
  ]
  const first = `${OVER}/dev/shm`
  const options = tmpfsOptions(Math.floor(memoryBytes * SCRATCH_SHARE), SCRATCH_INODES_MAX)
  trees.add(
    step('folder', '755', ...folders.map(({ at }) => OVER + at)),
    step('tmpfs', first, options),
  )
  const indexes = folders.map(({ mode }, at) => {
    trees.add(step('folder', mode, `${first}/${at}`))
    return trees.grab(`${first}/${at}`)
  })
  trees.add(
    step('detach', first),
    ...folders.map(({ at }, index) => step('attach', indexes[index]!, OVER + at)),
  )
}

/** Covers existing closed paths: a second layer, in addition to the decisions by name. */
function addClosed(trees: Trees, { closed }: FolderWallSpec): void {
  const all = closed.filter(({ to }) => to === 'all').map(({ path: place }) => place)
  const places = [...folderPolicy().system.closed.map(({ path: place }) => place), ...all]
  const isFolder = (place: string) => lstatSync(place, { throwIfNoEntry: false })?.isDirectory()
  // A mount on a symbolic link would cover its target, which is among the paths itself.
  const there = places.filter((place) => existsSync(place) && canonicalPath(place) === place)
  trees.add(
    step('cover-folders', ...there.filter((place) => isFolder(place)).map((at) => OVER + at)),
    step('cover-files', ...there.filter((place) => !isFolder(place)).map((at) => OVER + at)),
  )
}

function addProc(trees: Trees): void {
  const { folders, files } = maskedProc()
  const proc = `${OVER}/proc`
  trees.add(
    step('proc', proc),
    step('cover-folders', ...folders.map((at) => OVER + at)),
    step('cover-files', ...files.map((at) => OVER + at)),
    step('readonly', proc),
  )
}
