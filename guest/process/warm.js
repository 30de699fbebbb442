/** Runs a job of each common shape, so that the first real job finds warm code. */
import { EventEmitter } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { createRequire } from 'node:module'
import { takeAhead } from './ahead.js'
import { makeOut, pretendToHaveWaited } from './artifacts.js'
import { prepare, readResult, takeUp } from './ground.js'
import { Job } from './job.js'
import { errorOf } from './result.js'
import { startJob } from './start.js'
import { KIND } from '../kinds.js'
import { nextFrame, send } from './wire.js'
import { takeGc } from '../take-gc.js'
import { parseJson } from '../parse-json.js'

const COMMONJS = `const fs = require('node:fs')\nmodule.exports = (input) => fs.existsSync(input)`
const MODULE = `import { writeFileSync } from 'node:fs'
export default async (input) => {
  writeFileSync('out/a', 'a')
  return [input.a + 1, 'b', null, new Date(0)]
}`
const FUNCTION = '(input) => input.a'
/** @type {import('./ground.js').Task} */
const DUMMY = {
  language: 'node',
  entry: 'auto',
  code: MODULE,
  inputText: '{"a":1}',
  files: [{ path: 'a.cjs', content: COMMONJS, encoding: 'utf8' }],
  timeoutMs: 1000,
  resultBytesMax: 1024,
  artifactBytesMax: 1024,
  network: false,
}

/** @param {import('./ground.js').Settings} settings */
export async function warmUp({ work, tmp }) {
  for (const name of /** @type {const} */ (['stdout', 'stderr'])) void process[name]
  // A shell is started with it.
  process.getBuiltinModule('node:child_process')
  if (!work || !tmp) return
  const folder = fs.mkdtempSync(path.join(tmp, '.mayfly-'))
  const settings = {
    work: folder,
    tmp: folder,
    listens: false,
    hasRoot: true,
    warm: true,
    threads: false,
  }
  const sink = fs.openSync('/dev/null', 'w')
  makeOut(folder)
  const task = asked(folder)
  const main = await rehearse(task, settings, sink)
  await rehearseAlone({ ...task, files: [], entry: 'function', code: FUNCTION }, settings, sink)
  const require = createRequire(main)
  // Traces of a main module: a job that is a pure ES module has none.
  delete require.cache[main]
  delete process.mainModule
  require('./a.cjs')(folder)
  delete require.cache[path.join(folder, 'a.cjs')]
  readResult(settings, 0)
  errorOf(new Error('warm'), { work: folder, main })
  takeUp(work)
  fs.closeSync(sink)
  fs.rmSync(folder, { recursive: true })
  makeOut(work)
  // Collects the dummy job's garbage, so that no job's time includes it.
  takeGc()()
  // A turn of the event loop runs the dummy job's deferred work before the job.
  await new Promise((resolve) => setImmediate(resolve))
}

/**
 * Runs a job by the path of a real one: a function that has never run is compiled at its first call, which took a tenth of
 * the time of a short job. Resolves with its main file.
 * @param {import('./ground.js').Task} task @param {import('./ground.js').Settings} settings @param {number} sink
 */
async function rehearse(task, settings, sink) {
  const { argv } = process
  const { promise, resolve } = Promise.withResolvers()
  const events = /** @type {any} */ (new EventEmitter())
  /** @type {import('./job.js').Outside['send']} */
  const drop = (kind, text, bytes) => send(kind, text, bytes, sink)
  const job = new Job(task, settings, { send: drop, events, exit: resolve })
  await startJob(job, settings, takeAhead(settings))
  await promise
  // The end of a program, which its exit reports; the job has reported its own.
  events.emit('exit', 0)
  process.argv = argv
  return job.main
}

/**
 * The same in a folder of its own, made ready as for a usual job.
 * @param {import('./ground.js').Task} task @param {import('./ground.js').Settings} settings @param {number} sink
 */
async function rehearseAlone(task, settings, sink) {
  const work = `${settings.tmp}/alone`
  fs.mkdirSync(work)
  makeOut(work)
  prepare({ ...settings, work })
  pretendToHaveWaited()
  await rehearse(task, { ...settings, work }, sink)
}

/**
 * Reads the dummy job as a frame, like a real one. @param {string} folder @returns {import('./ground.js').Task}
 */
function asked(folder) {
  const place = path.join(folder, '.frame')
  const fd = fs.openSync(place, 'w+')
  send(KIND.run, JSON.stringify(DUMMY), undefined, fd)
  fs.closeSync(fd)
  const from = fs.openSync(place, 'r')
  const frame = nextFrame(from)
  fs.closeSync(from)
  return parseJson(frame?.payload.toString() ?? '')
}
