/** One job of each common shape, so that nothing on a real job's path runs for the first time. */
import fs from 'node:fs'
import path from 'node:path'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { gatherArtifacts } from './artifacts.js'
import { layOut, readResult, takeUp } from './ground.js'
import { resultOf } from './result.js'

const COMMONJS = `const fs = require('node:fs')\nmodule.exports = (input) => fs.existsSync(input)`
const MODULE = `import { join } from 'node:path'\nexport default async (input) => join(input, 'x')`
/** @type {import('./ground.js').Task} */
const DUMMY = {
  language: 'node',
  entry: 'module',
  code: MODULE,
  inputText: 'null',
  files: [{ path: 'a.cjs', content: COMMONJS, encoding: 'utf8' }],
  timeoutMs: 1000,
  resultBytesMax: 1024,
  artifactBytesMax: 1024,
  network: false,
}

/** @param {import('./ground.js').Settings} settings */
export async function warmUp({ work, tmp }) {
  for (const stream of [process.stdout, process.stderr]) writeWhole(stream)
  resultOf({ a: [1, 'b', null, new Date(0)] }, 1024)
  if (!work || !tmp) return
  const folder = fs.mkdtempSync(path.join(tmp, '.mayfly-'))
  const main = layOut(DUMMY, { work: folder, tmp: folder, listens: false, starts: true })
  await (await import(pathToFileURL(main).href)).default(folder)
  const require = createRequire(main)
  require('./a.cjs')(folder)
  delete require.cache[path.join(folder, 'a.cjs')]
  readResult({ work: folder, tmp: folder, listens: false, starts: true }, 0)
  gatherArtifacts(folder, 0, () => undefined)
  takeUp(work)
  fs.rmSync(folder, { recursive: true })
}

/** What is written is gone when the write returns: a job that ends at once loses nothing. @param {any} stream */
function writeWhole(stream) {
  stream._handle?.setBlocking?.(true)
}
