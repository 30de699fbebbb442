/** Runs a job of each common shape, so that the first real job finds warm code. */
import fs from 'node:fs'
import path from 'node:path'
import { createRequire } from 'node:module'
import { makeOut } from './artifacts.js'
import { rehearse } from './entries.js'
import { layOut, readResult, takeUp } from './ground.js'
import { Job } from './job.js'
import { errorOf } from './result.js'
import { KIND, nextFrame, sendTo } from './wire.js'
import { takeGc } from '../take-gc.js'
import { parseJson } from '../parse-json.js'

const COMMONJS = `const fs = require('node:fs')\nmodule.exports = (input) => fs.existsSync(input)`
const MODULE = `import { writeFileSync } from 'node:fs'
export default async (input) => {
  writeFileSync('out/a', 'a')
  return [input.a + 1, 'b', null, new Date(0)]
}`
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
  const job = new Job(asked(folder), settings, (kind, text, bytes) =>
    sendTo(sink, kind, text, bytes),
  )
  makeOut(folder)
  const main = layOut(job.task, settings)
  fs.closeSync(fs.openSync(main, 'r'))
  await rehearse(job, main)
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
 * Reads the dummy job as a frame, like a real one. @param {string} folder @returns {import('./ground.js').Task}
 */
function asked(folder) {
  const place = path.join(folder, '.frame')
  const fd = fs.openSync(place, 'w+')
  sendTo(fd, KIND.run, JSON.stringify(DUMMY))
  fs.closeSync(fd)
  const from = fs.openSync(place, 'r')
  const frame = nextFrame(from)
  fs.closeSync(from)
  return parseJson(frame?.payload.toString() ?? '')
}
