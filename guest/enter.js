/**
 * Embedded jail, without any installed tool: started as the first program in fresh namespaces (or without them,
 * if forbidden), it builds an empty read-only root, drops all privileges, restricts itself by Landlock and
 * seccomp, and then calls `execve` for the real program. Restrictions of a thread survive execve, which ends
 * all other threads, so that only the restrictions remain.
 *
 * The order matters: mounts need capabilities, a change of uid clears the parent-death signal, no_new_privs
 * must precede Landlock and seccomp, and the seccomp filter comes last because it forbids the calls that the
 * others need.
 *
 * Relies on the kernel features that src/jail/facts.ts probed; each optional layer is a field of JailSpec. Does
 * not create namespaces (the caller's `unshare` does) or cgroups (the warden does).
 */
import fs from 'node:fs'
import path from 'node:path'
import * as libc from '../src/os/libc.js'

/** @typedef {import('../src/jail/jail-spec.ts').JailSpec} JailSpec */
/** @typedef {import('../src/jail/jail-spec.ts').WholeSpec} WholeSpec */

const O_PATH = 0o10000000
const SIGKILL = 9
const READY_FD = 4
const SCRATCH_INODES_MAX = 16_384
const SETTINGS_BYTES_MAX = 2 ** 16

/** @type {JailSpec} */
const spec = JSON.parse(process.argv[2] ?? '')

try {
  libc.setParentDeathSignal(SIGKILL)
  if (spec.mounts) closeProjects()
  if (spec.mounts) buildRoot()
  for (const [name, value] of Object.entries(spec.limits)) {
    libc.capResource(/** @type {any} */ (name), value)
  }
  if (spec.mounts) libc.emptyBoundingSet()
  else attempt(libc.emptyBoundingSet)
  if (spec.user) libc.becomeUser(spec.user.uid, spec.user.gid)
  libc.dropCapabilities()
  libc.setParentDeathSignal(SIGKILL)
  libc.setNoNewPrivileges()
  if (spec.landlock) libc.restrictFiles({ readable: readable(), ...ofWhole(), open: openPath })
  libc.closeOnExecFrom(3)
  for (const fd of spec.kept) libc.keepOverExec(fd)
  if (spec.seccomp) libc.loadSeccomp(Buffer.from(spec.seccomp, 'hex'))
  process.execve?.(spec.exec.path, spec.exec.args, spec.exec.env)
} catch (error) {
  fs.writeSync(READY_FD, `E${error instanceof Error ? error.message : String(error)}`)
  libc.exitNow(1)
}

/** Runs a step that needs capabilities and is optional without them. @param {() => void} act */
function attempt(act) {
  try {
    act()
  } catch (error) {
    if (!(error instanceof libc.SystemCallError) || error.code !== 'EPERM') throw error
  }
}

/**
 * Sets an empty project map for disk quotas: any process inside could write it, but only once. Without a user
 * namespace there is no map.
 */
function closeProjects() {
  try {
    fs.writeFileSync('/proc/self/projid_map', '0 0 1')
  } catch {
    // Already set, or the initial namespace.
  }
}

function buildRoot() {
  libc.makeMountsPrivate()
  const own = spec.tree.map((place) => ({ from: place, at: place }))
  const trees = [...own, ...(spec.whole?.places ?? [])].map(({ from, at }) => ({
    to: path.join(spec.over, at),
    folder: fs.statSync(from).isDirectory(),
    tree: libc.cloneTree(from),
  }))
  const layers = (spec.whole?.layers ?? []).map((layer) => ({ ...layer, tree: cloneLayer(layer) }))
  libc.mountTmpfs(spec.over, spec.scratchBytes)
  for (const { to, folder, tree } of trees) {
    fs.mkdirSync(folder ? to : path.dirname(to), { recursive: true })
    // Below a read-only mount the mount point already exists.
    if (!folder && !fs.existsSync(to)) fs.writeFileSync(to, '')
    libc.attachTree(tree, to)
    fs.closeSync(tree)
  }
  if (spec.whole) buildWhole(spec.whole)
  for (const { at, tree } of layers) {
    const to = path.join(spec.over, at)
    fs.mkdirSync(to, { recursive: true })
    libc.attachTree(tree, to)
    fs.closeSync(tree)
  }
  for (const { at, target } of spec.links) {
    const link = path.join(spec.over, at)
    fs.mkdirSync(path.dirname(link), { recursive: true })
    fs.symlinkSync(target, link)
  }
  process.chdir(spec.over)
  libc.pivotHere()
  process.chdir('/')
  libc.makeReadOnly('/')
  if (spec.whole?.workFolder) process.chdir(spec.whole.workFolder)
  libc.setHostname(spec.hostname)
  if (spec.whole) libc.raiseLoopback()
}

/**
 * A layer's folder may be owned by another user, who could swap it for a symlink (TOCTOU): the clone is made
 * from the fd of the folder that was opened and checked.
 * @param {{ root: string, content: string, owner: number }} layer
 */
function cloneLayer({ root, content, owner }) {
  const fds = [openFolder(root, owner)]
  try {
    fds.push(openFolder(`/proc/self/fd/${fds[0]}/${content}`, owner))
    return libc.cloneTree(`/proc/self/fd/${fds[1]}`)
  } finally {
    for (const fd of fds) fs.closeSync(fd)
  }
}

/** @param {string} place @param {number} owner */
function openFolder(place, owner) {
  const { O_DIRECTORY, O_NOFOLLOW } = fs.constants
  const fd = fs.openSync(place, O_PATH | O_DIRECTORY | O_NOFOLLOW)
  // In its own user namespace this user is root.
  const { uid } = fs.fstatSync(fd)
  if (uid === owner || (!spec.user && uid === process.getuid?.())) return fd
  fs.closeSync(fd)
  throw new Error(`the layer "${place}" belongs to another user`)
}

/** @param {WholeSpec} whole */
function buildWhole({
  etc = {},
  devices = [],
  terminals,
  proc,
  settings,
  scratchFolders = [],
  scratchBytes = 0,
}) {
  const inside = (/** @type {string} */ place) => path.join(spec.over, place)
  writeFiles(etc, inside)
  fs.mkdirSync(inside('/dev'))
  for (const device of devices) bindFile(device, inside(device))
  if (terminals) {
    fs.mkdirSync(inside(terminals.at))
    libc.mountTerminals(inside(terminals.at), terminals.options)
  }
  buildScratch(scratchFolders.map(inside), scratchBytes)
  fs.mkdirSync(inside('/proc'))
  if (proc) buildProc(proc, settings, inside)
}

/**
 * Folders with a common size limit: clones of folders in one tmpfs, which is then detached.
 * @param {string[]} folders @param {number} bytes
 */
function buildScratch(folders, bytes) {
  const { uid, gid } = spec.user ?? { uid: 0, gid: 0 }
  for (const folder of folders) fs.mkdirSync(folder)
  const [first = ''] = folders
  libc.mountTmpfs(first, bytes, `nr_inodes=${SCRATCH_INODES_MAX},mode=755`)
  const trees = folders.map((_, index) => {
    const part = path.join(first, `${index}`)
    fs.mkdirSync(part)
    fs.chmodSync(part, index === 0 ? 0o755 : 0o1777)
    fs.chownSync(part, uid, gid)
    return libc.cloneTree(part)
  })
  libc.detach(first)
  folders.forEach((folder, index) => libc.attachAsIs(trees[index] ?? -1, folder))
  for (const tree of trees) fs.closeSync(tree)
}

/**
 * @param {{ folders: readonly string[], files: readonly string[] }} masked @param {WholeSpec['settings']} settings
 * @param {(place: string) => string} inside
 */
function buildProc({ folders, files }, settings, inside) {
  libc.mountProc(inside('/proc'))
  if (settings) buildSettings(settings, inside)
  for (const folder of folders) {
    if (!fs.existsSync(inside(folder))) continue
    libc.mountTmpfs(inside(folder), 4096, 'nr_inodes=2,mode=555')
    libc.makeReadOnly(inside(folder))
  }
  for (const file of files) if (fs.existsSync(inside(file))) bindFile('/dev/null', inside(file))
  // Read-only /proc: no writes to other processes' memory or to kernel settings.
  libc.makeReadOnly(inside('/proc'))
}

/**
 * Covers /proc/sys. The files shown are cloned from the wall's own /proc before it is masked.
 * @param {NonNullable<WholeSpec['settings']>} settings @param {(place: string) => string} inside
 */
function buildSettings({ at, files, shown }, inside) {
  const tree = libc.cloneTree(inside(shown))
  libc.mountTmpfs(inside(at), SETTINGS_BYTES_MAX, 'nr_inodes=64,mode=755')
  writeFiles(files, inside)
  fs.writeFileSync(inside(shown), '')
  libc.attachTree(tree, inside(shown))
  fs.closeSync(tree)
  libc.makeReadOnly(inside(at))
}

/** @param {Readonly<Record<string, string>>} files @param {(place: string) => string} inside */
function writeFiles(files, inside) {
  for (const [file, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(inside(file)), { recursive: true })
    fs.writeFileSync(inside(file), text, { mode: 0o444 })
  }
}

/** @param {string} from @param {string} to */
function bindFile(from, to) {
  const tree = libc.cloneTree(from)
  if (!fs.existsSync(to)) fs.writeFileSync(to, '')
  libc.attachAsIs(tree, to)
  fs.closeSync(tree)
}

/** Landlock rules of a program wall: writes in its scratch; connects only if it has its own network namespace. */
function ofWhole() {
  return spec.whole ? { writable: spec.whole.writable, net: !spec.mounts } : {}
}

function readable() {
  return spec.mounts ? ['/'] : spec.tree
}

/** @param {string} place */
function openPath(place) {
  return { fd: fs.openSync(place, O_PATH), folder: fs.statSync(place).isDirectory() }
}
