#!/usr/bin/env node
// Starts Mayfly on Node 26. Plain JavaScript that older Nodes can parse: they find Node 26, start it, and stay as a thin
// parent. Imports are lazy, because each module adds to the start-up time of `mayfly run`.

const nodeMajorMin = 26
/** Time after which a process has called what it calls at its start. */
const KEEP_MS = 2_000

if (Number(process.versions.node.split('.')[0]) >= nodeMajorMin) await startHere()
else await startOnNode26()

async function startHere() {
  silenceVainWarnings()
  const { existsSync } = process.getBuiltinModule('node:fs')
  // In a checkout the sources are there, and count.
  const isPacked = !existsSync(new URL('../src/cli/main.ts', import.meta.url))
  // Coverage is that of the sources.
  const isMeasured = Boolean(process.env.NODE_V8_COVERAGE)
  const { cacheFolder } = await import('./cache-folder.js')
  const folder = cacheFolder()
  const isPlain = !isMeasured && mayBePlain()
  const isSmallMade = isPlain ? await runBySmall(isPacked, folder) : true
  if (isSmallMade === 'ran') return endSoon()
  if (isRun()) growAtOnce()
  const started = !isMeasured && mayStartAhead() ? await startAhead(isPacked, folder) : undefined
  const cli = await openCli({ isPacked, isMeasured, isSmallMade, folder })
  if (cli?.keep) keepCode(cli.keep)
  await cli?.main(process.argv.slice(2), cli.keep, started)
  // Node would take the heap apart first.
  process.once('beforeExit', () => process.exit())
}

/** Whether root runs a job without a server of its own: that one's server is a process with another uid. */
function mayStartAhead() {
  const isRoot = process.getuid?.() === 0
  return isRoot && isRun() && process.argv.includes('--once') && !process.env.MAYFLY_ROLE
}

/** @param {boolean} isPacked @param {string | undefined} folder for compiled code */
async function startAhead(isPacked, folder) {
  const small = await openTheSmall(isPacked, folder, 'small-once')
  return small?.startAhead(process.argv.slice(2))
}

/** A run is too short to pay for five collections of young objects: the first one grows their space to its limit. */
function growAtOnce() {
  process.getBuiltinModule('node:v8').setFlagsFromString('--semi-space-growth-factor=16')
}

/** Keeps compiled code soon, because V8 drops that of functions that a server called at its start alone. */
function keepCode(keep) {
  process.once('exit', () => keep())
  setTimeout(() => keep(), KEEP_MS).unref()
}

/**
 * Runs the line by the small bundle: 'ran' if it did, else whether there is one that needs not be made anew.
 *
 * @param {boolean} isPacked
 * @param {string | undefined} folder for compiled code
 */
async function runBySmall(isPacked, folder) {
  const small = await openTheSmall(isPacked, folder, 'small')
  if (!small) return false
  const isRun = await small.runPlain(process.argv.slice(2))
  if (isRun && !small.isFresh) (await import('./bundle.js')).startMaker()
  return isRun ? 'ran' : small.isFresh
}

/** @param {boolean} isPacked @param {string | undefined} folder @param {string} use of compiled code */
async function openTheSmall(isPacked, folder, use) {
  const { findSmall, openSmall, packedSmall } = await import('./small.js')
  const found = isPacked ? packedSmall() : findSmall()
  if (!found) return undefined
  const small = openSmall(found, { folder, place: isPacked ? 'dist' : 'bundle', use })
  return { ...small, isFresh: found.isFresh }
}

/** Whether the small bundle may answer the line; it decides by itself. */
function mayBePlain() {
  return isRun() && !process.argv.includes('--once') && !process.env.MAYFLY_ROLE
}

function isRun() {
  const words = process.argv.slice(2)
  return words.includes('run') && words[0] !== 'exec'
}

function enableCompileCache(folder) {
  process.getBuiltinModule('node:module').enableCompileCache(folder)
}

/** Ends without taking the heap apart, if all that was printed is out. */
function endSoon() {
  if (process.stdout.writableLength === 0 && process.stderr.writableLength === 0) process.exit()
}

/** Apart from what waits for the end of the process, which would keep the bytes of the bundle as long: 4 MB. */
async function openCli({ isPacked, isMeasured, isSmallMade, folder }) {
  const bundles = await import('./bundle.js')
  const found = isPacked || isMeasured ? undefined : bundles.findBundle()
  // For sources, and packages with a native half, which are in no bundle.
  if (folder) enableCompileCache(folder)
  const isMade = isSmallMade && found?.isFresh
  if (!isPacked && !isMeasured && !isMade && !process.env.MAYFLY_ROLE) bundles.startMaker()
  return await load(bundles, { isPacked, found, folder })
}

async function load(bundles, { isPacked, found, folder }) {
  if (isPacked) return (await import('./packed.js')).openPacked({ folder, use: useOf() })
  if (found) return bundles.openBundle(found, { folder, use: useOf() })
  return import('../src/cli/main.ts').catch(refuseSource)
}

/** Names the functions of the bundle that this process calls: those of other processes are of no use to it. */
function useOf() {
  const words = process.argv.slice(2)
  const verb = ['run', 'serve', 'exec', 'mcp'].find((one) => words.includes(one)) ?? 'other'
  const once = verb === 'run' && words.includes('--once') ? '-once' : ''
  return `${process.env.MAYFLY_ROLE ? 'server' : 'command'}-${verb}${once}`
}

/** Explains a package that was made without `prepack`, which alone compiles it; throws other errors. */
function refuseSource(error) {
  if (error.code !== 'ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING') throw error
  process.stderr.write(
    'mayfly: this package holds TypeScript, and Node strips no types inside node_modules: make it with ' +
      '"npm pack" in a checkout, without --ignore-scripts, and install the file that this prints\n',
  )
  process.exitCode = 2
}

/**
 * In-process filter, because the flag would need a second start of Node. Other warnings are printed. Node says that
 * FORCE_COLOR wins over NO_COLOR, which Mayfly follows all the same.
 */
function silenceVainWarnings() {
  const printers = process.listeners('warning')
  process.removeAllListeners('warning')
  process.on('warning', (warning) => {
    if (warning.name === 'ExperimentalWarning') return
    if (warning.message.endsWith("'FORCE_COLOR' env being set.")) return
    for (const print of printers) print.call(process, warning)
  })
}

async function startOnNode26() {
  const { findNode } = await import('../src/lib/own-node.js')
  const { stayAsParent } = await import('./older-node.js')
  const node = findNode()
  if (node) {
    stayAsParent(node, process.argv.slice(1))
    return
  }
  process.stderr.write(
    `mayfly: needs Node ${nodeMajorMin} and runs on ${process.versions.node}: install it from https://nodejs.org, ` +
      `or run "npm ci" with optional dependencies so that it comes along\n`,
  )
  process.exitCode = 2
}
