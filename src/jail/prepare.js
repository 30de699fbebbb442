/**
 * Prepares the code of jailed programs: `prepare.js ROOT HOME GENERATION JOINED PYTHON AT BINDING`.
 *
 * Joins the programs into JOINED where they are not there yet, and fills HOME/GENERATION/compiled: Node's compile cache
 * with the code caches of the realm, by a run of each worker that ends before its first byte, and the bytecode of the
 * Python runner, which lies at AT inside. BINDING is the one of isolated-vm. It handles no untrusted code.
 *
 * Each folder is published atomically by a rename, independent of the process that started this one. A lock in HOME,
 * which the kernel releases at the end of this process, excludes other makers (generations.js). It removes older
 * generations, and the folders of roots that do not exist any more.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import path from 'node:path'
import { beMaker, keepNewest, linkRoot, removeGoneRoots, unfinishedIn } from './generations.js'

const [root = '', home = '', generation = '', joined = '', python = '', at = '', binding = ''] =
  process.argv.slice(2)
const own = path.join(home, generation)
const MS_MAX = 60_000
/** Limit for each root. */
const GENERATIONS_MAX = 3
const ROOTS_MAX = 16
/** Names of generations and of roots; other entries are never removed. */
const KEY = /^[0-9a-f]{16}$/
/** Programs whose compiled code is kept, and the settings by which each loads, warms up and ends. */
const COMPILED = {
  'guest/analyst.js': { MAYFLY_ANALYST: '{"warm":1,"compiles":true}' },
  'guest/isolate-worker.js': {
    MAYFLY_WORKER: JSON.stringify({ spares: 2, spareMiB: 32, compiles: true, binding }),
  },
  'guest/wasm-worker.js': { MAYFLY_WORKER: '{"compiles":true}' },
}

setTimeout(() => process.exit(1), MS_MAX).unref()
if (!beMaker(home)) process.exit(0)
const ready = path.join(own, 'compiled')
if (!existsSync(ready)) await make()

async function make() {
  mkdirSync(own, { mode: 0o755, recursive: true })
  linkRoot(home, root)
  if (!existsSync(joined)) await putInPlace(joined, join)
  await putInPlace(ready, compile)
  sweep()
}

function sweep() {
  try {
    const base = path.dirname(home)
    keepNewest(home, KEY, generation, GENERATIONS_MAX)
    removeGoneRoots(base, KEY)
    keepNewest(base, KEY, path.basename(home), ROOTS_MAX)
  } catch {
    // Race: a maker of another root removes them too.
  }
}

/** Leaves no file if `make` fails. @param {string} place @param {(into: string) => Promise<void>} make */
async function putInPlace(place, make) {
  const making = unfinishedIn(home)
  try {
    await make(making)
    renameSync(making, place)
  } catch {
    rmSync(making, { recursive: true, force: true })
  }
}

/** Fails without esbuild: the programs then stay unjoined. @param {string} into */
async function join(into) {
  const { joinPrograms } = await import('./join.js')
  await joinPrograms(root, into, false)
  makeReadable(into)
  symlinkSync(path.join(root, 'node_modules'), path.join(into, 'node_modules'))
}

/** Compiled code is found by path, so the joined programs must be in place before. @param {string} into */
async function compile(into) {
  for (const [program, env] of Object.entries(COMPILED)) {
    const file = path.join(existsSync(joined) ? joined : root, program)
    const args = ['--disable-warning=ExperimentalWarning', file]
    await run(process.execPath, args, { ...env, NODE_COMPILE_CACHE: into })
  }
  if (python) await compilePython(path.join(into, 'python'))
  makeReadable(into)
}

/** Leaves no file if Python cannot compile: the runner then compiles its sources itself. @param {string} into */
async function compilePython(into) {
  const program = path.join(root, 'guest/precompile.py')
  try {
    await run(python, ['-I', program, path.join(root, 'guest/process'), at, into], {})
  } catch {
    rmSync(into, { recursive: true, force: true })
  }
}

/** @param {string} file @param {readonly string[]} args @param {Record<string, string>} env */
async function run(file, args, env) {
  // A worker has its socket and its readiness pipe at 3 and 4.
  const child = spawn(file, args, { env, stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] })
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new Error(`"${file}" ended with ${code}`)
}

/** For a folder without symlinks, which would be followed. @param {string} folder */
function makeReadable(folder) {
  chmodSync(folder, 0o755)
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }))
    chmodSync(path.join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o644)
}
