import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'

/** After so many starts TurboFan has optimised all of it. */
const startsBefore = 600
/**
 * Starts programs, the last of them with a collection of garbage between the moment at which an address is taken and the call
 * that is given it. Only code that TurboFan has optimised lets go of a buffer that is not named again.
 */
const program = `
import { createRequire } from 'node:module'
const ffi = createRequire(import.meta.url)('node:ffi')
const { dlopen } = ffi
let collects = false
const late = ([name, call]) => [name, (...args) => {
  // The second collection ends the work of the first one.
  if (collects) for (let n = 0; n < 2; n++) gc()
  return call(...args)
}]
ffi.dlopen = (...args) => {
  const opened = dlopen(...args)
  return { ...opened, functions: Object.fromEntries(Object.entries(opened.functions).map(late)) }
}
const { reap, spawnProcess } = await import(${JSON.stringify(new URL('libc.js', import.meta.url).href)})
function start() {
  const pid = spawnProcess('/bin/true', ['true'], ['NAME=value'], [], 3)
  let end
  while (!(end = reap(pid)));
  if (end.code !== 0) throw new Error('it ended with ' + JSON.stringify(end))
}
for (let n = 0; n < ${startsBefore}; n++) start()
collects = true
for (let n = 0; n < 100; n++) start()
`

test(
  'Starting a program reads and frees only memory of its own, however optimised the code is and whenever garbage is collected',
  { skip: process.platform !== 'linux' && 'posix_spawn(3) is used on Linux alone' },
  () => {
    const ofCode = ['--disable-warning=ExperimentalWarning', '--input-type=module']
    const ofEngine = ['--expose-gc', '--no-maglev', '--invocation-count-for-turbofan=20']
    const words = [...ofCode, ...ofEngine, '--eval', program]
    const { status, signal, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' })
    assert.deepEqual([status, signal, stderr], [0, null, ''])
  },
)
