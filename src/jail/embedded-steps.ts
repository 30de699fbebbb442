import path from 'node:path'
import type { JailFacts } from './facts.ts'
import type { JailSpec, WholeSpec } from './jail-spec.ts'
import {
  addEtcAndDev,
  launcherPath,
  settingFiles,
  step,
  tmpfsStep,
  Trees,
  type Step,
} from './launch-steps.ts'
import { launcherFdOfWhole, ownUidInside, scratchInodesMax } from './whole.ts'

/**
 * The embedded jail as steps of the launcher, in the same order as by `unshare` and `guest/enter.js`, which has the
 * reasons; without starting Node twice.
 */

const LAUNCHER_FD_OF_WORKERS = 5
/** Descriptor that a program replaces by that of its result. */
const RESULT_FD = 3
const ROOT_INODES_MAX = 4096
const SETTINGS_BYTES_MAX = 2 ** 16
const SETTINGS_INODES_MAX = 64

export function launched(spec: JailSpec, { root }: JailFacts) {
  const launcherFd = spec.whole ? launcherFdOfWhole : LAUNCHER_FD_OF_WORKERS
  const steps = [
    step('close', launcherFd),
    ...wallSteps(spec, root),
    // Node does not open ignored descriptors in a child, so the launcher reserves this one.
    ...(spec.whole ? [step('reserve', RESULT_FD)] : []),
    step('keep', ...spec.kept),
    ...(spec.seccomp ? [step('seccomp', spec.seccomp)] : []),
    step('variables', ...Object.entries(spec.exec.env).map((pair) => pair.join('='))),
    step('exec', spec.exec.path, ...spec.exec.args),
  ]
  return { file: launcherPath(launcherFd), args: steps.flat(), launcherFd }
}

/** Every layer of the wall but its filters, in the process that will exec the program. */
export function wallSteps(spec: JailSpec, isRoot: boolean): readonly Step[] {
  return [
    step('die-with-parent'),
    ...(spec.mounts ? inNamespaces(spec, isRoot) : []),
    ...Object.entries(spec.limits).map(([name, value]) => step('limit', name, value)),
    step('empty-bounding-set', ...(spec.mounts ? [] : ['optional'])),
    ...(spec.user ? [step('become', spec.user.uid, spec.user.gid)] : []),
    step('drop-capabilities'),
    step('die-with-parent'),
    step('no-new-privileges'),
    ...(spec.landlock ? [landlockOf(spec)] : []),
  ]
}

function inNamespaces(spec: JailSpec, isRoot: boolean): readonly Step[] {
  const own = ['net', 'pid', 'mount', 'ipc', 'uts']
  return [
    step('namespaces', ...(isRoot ? own : ['user', ...own])),
    step('fork'),
    step('close-projects'),
    ...(hasOwnUser(spec, isRoot) ? [step('keep-proc')] : []),
    ...rootOf(spec),
    ...(hasOwnUser(spec, isRoot) ? [step('own-user', ownUidInside, ownUidInside)] : []),
  ]
}

/** True if a program gets a uid other than 0 in a user namespace of its own; with root it gets a host uid instead. */
function hasOwnUser({ whole }: JailSpec, isRoot: boolean): boolean {
  return whole !== null && !isRoot
}

/** `more` adds files to the root before this process enters it. */
export function rootOf(
  spec: JailSpec,
  more: (trees: Trees, over: string) => void = () => undefined,
): readonly Step[] {
  const { over, whole } = spec
  const inside = (place: string) => path.join(over, place)
  const trees = new Trees()
  const own = spec.tree.map((place) => ({ from: place, at: place }))
  const grabbed = [...own, ...(whole?.places ?? [])].map(({ from, at }) => ({
    at,
    index: trees.grab(from),
  }))
  const layers = (whole?.layers ?? []).map((layer) => ({
    at: layer.at,
    index: trees.grabLayer(layer, spec.user === null),
  }))
  const attached = (of: typeof grabbed, name: string) =>
    of.map(({ at, index }) => step(name, index, inside(at)))
  trees.add(
    tmpfsStep(over, spec.scratchBytes, ROOT_INODES_MAX),
    ...attached(grabbed, 'attach-readonly'),
  )
  if (whole) addWhole(trees, spec, whole)
  more(trees, over)
  trees.add(
    ...attached(layers, 'attach-readonly'),
    ...spec.links.map(({ at, target }) => step('link', target, inside(at))),
    step('pivot', over),
    step('readonly', '/'),
    ...(whole?.workFolder ? [step('work-in', whole.workFolder)] : []),
    step('hostname', spec.hostname),
    ...(whole ? [step('loopback')] : []),
  )
  return trees.steps
}

function addWhole(trees: Trees, spec: JailSpec, whole: WholeSpec): void {
  const inside = (place: string) => path.join(spec.over, place)
  addEtcAndDev(trees, spec.over, whole)
  addScratch(trees, spec, whole, (whole.scratchFolders ?? []).map(inside))
  if (!whole.proc) return trees.add(step('folder', '755', inside('/proc')))
  trees.add(step('proc', inside('/proc')))
  if (whole.settings) addSettings(trees, spec.over, whole.settings)
  trees.add(
    step('cover-folders', ...whole.proc.folders.map(inside)),
    step('cover-files', ...whole.proc.files.map(inside)),
    step('readonly', inside('/proc')),
  )
}

/** Covers /proc/sys. The files shown there are cloned from the wall's own /proc, before it is covered. */
function addSettings(
  trees: Trees,
  over: string,
  { at, files, shown }: NonNullable<WholeSpec['settings']>,
): void {
  const index = trees.grab(over + shown)
  trees.add(
    tmpfsStep(over + at, SETTINGS_BYTES_MAX, SETTINGS_INODES_MAX),
    ...settingFiles(over, files),
    step('attach-readonly', index, over + shown),
    step('readonly', over + at),
  )
}

/** Folders with a common size limit: clones of folders in one tmpfs, which is then detached. */
function addScratch(
  trees: Trees,
  { user }: JailSpec,
  { scratchBytes = 0 }: WholeSpec,
  folders: readonly string[],
): void {
  const [first] = folders
  if (first === undefined) return
  trees.add(step('folder', '755', ...folders), tmpfsStep(first, scratchBytes, scratchInodesMax))
  const indexes = folders.map((_, index) => {
    const part = path.join(first, `${index}`)
    trees.add(step('folder', index === 0 ? '755' : '1777', part), step('own', user?.uid ?? 0, part))
    return trees.grab(part)
  })
  trees.add(
    step('detach', first),
    ...folders.map((folder, at) => step('attach', indexes[at]!, folder)),
  )
}

/** A whole program connects only within its own network namespace, if it has one. */
function landlockOf({ mounts, tree, whole }: JailSpec): Step {
  const readable = mounts ? ['/'] : tree
  const isNetHandled = !whole || !mounts
  return step(
    'landlock',
    isNetHandled ? 'net' : 'no-net',
    readable.length,
    ...readable,
    ...(whole?.writable ?? []),
  )
}
