/**
 * The way into a jail that needs nothing installed: started as the first program inside fresh namespaces (or, where
 * those are forbidden, without them), it builds an empty read-only root, gives up every privilege, restricts itself
 * by Landlock and seccomp, and then becomes the real program by `execve`. What a thread restricted stays restricted,
 * and execve ends all other threads, so nothing of this program is left but the walls.
 *
 * The order matters: mounts need capabilities, a change of uid clears the parent-death signal, no_new_privs must
 * come before Landlock and seccomp, and the seccomp filter last because it forbids what the others need.
 */
import fs from 'node:fs'
import path from 'node:path'
import * as libc from '../src/os/libc.js'

/**
 * @typedef {object} JailSpec
 * @property {boolean} mounts whether this process may build a root of its own
 * @property {string} over an existing folder to build it over; only this namespace sees it
 * @property {readonly string[]} tree what the root holds, read-only, each in its own place
 * @property {readonly { at: string, target: string }[]} links
 * @property {number} scratchBytes size of the root's tmpfs
 * @property {{ uid: number, gid: number } | null} user becomes this user, where the namespace has it
 * @property {string} hostname
 * @property {boolean} landlock
 * @property {string | null} seccomp the filter, base64
 * @property {Record<string, number>} limits
 * @property {{ path: string, args: string[], env: Record<string, string> }} exec
 */

const O_PATH = 0o10000000
const SIGKILL = 9
/** The socket to the server and the readiness pipe. */
const KEPT = [3, 4]
const READY_FD = 4

/** @type {JailSpec} */
const spec = JSON.parse(process.argv[2] ?? '')

try {
  libc.setParentDeathSignal(SIGKILL)
  if (spec.mounts) buildRoot()
  for (const [name, value] of Object.entries(spec.limits)) {
    libc.limitResource(/** @type {any} */ (name), value)
  }
  if (spec.mounts) libc.emptyBoundingSet()
  else attempt(libc.emptyBoundingSet)
  if (spec.user) libc.becomeUser(spec.user.uid, spec.user.gid)
  libc.dropCapabilities()
  libc.setParentDeathSignal(SIGKILL)
  libc.setNoNewPrivileges()
  if (spec.landlock) libc.restrictFiles({ readable: readable(), open: openPath })
  libc.closeOnExecFrom(3)
  for (const fd of KEPT) libc.keepOverExec(fd)
  if (spec.seccomp) libc.loadSeccomp(Buffer.from(spec.seccomp, 'base64'))
  process.execve?.(spec.exec.path, spec.exec.args, spec.exec.env)
} catch (error) {
  fs.writeSync(READY_FD, `E${error instanceof Error ? error.message : String(error)}`)
  libc.exitNow(1)
}

/** What only somebody with capabilities may do, and nobody else needs. @param {() => void} act */
function attempt(act) {
  try {
    act()
  } catch (error) {
    if (!(error instanceof libc.SystemCallError) || error.code !== 'EPERM') throw error
  }
}

function buildRoot() {
  libc.makeMountsPrivate()
  const trees = spec.tree.map((place) => ({
    to: path.join(spec.over, place),
    folder: fs.statSync(place).isDirectory(),
    tree: libc.cloneTree(place),
  }))
  libc.mountTmpfs(spec.over, spec.scratchBytes)
  for (const { to, folder, tree } of trees) {
    fs.mkdirSync(folder ? to : path.dirname(to), { recursive: true })
    // Below a folder that is mounted already, the place is there.
    if (!folder && !fs.existsSync(to)) fs.writeFileSync(to, '')
    libc.attachTree(tree, to)
    fs.closeSync(tree)
  }
  for (const { at, target } of spec.links) fs.symlinkSync(target, path.join(spec.over, at))
  process.chdir(spec.over)
  libc.pivotHere()
  process.chdir('/')
  libc.makeReadOnly('/')
  libc.setHostname(spec.hostname)
}

function readable() {
  return spec.mounts ? ['/'] : spec.tree
}

/** @param {string} place */
function openPath(place) {
  return { fd: fs.openSync(place, O_PATH), folder: fs.statSync(place).isDirectory() }
}
