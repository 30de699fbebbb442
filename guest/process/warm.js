/** One job of each common shape, so that nothing on a real job's path runs for the first time. */
import fs from 'node:fs'
import path from 'node:path'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { gatherArtifacts } from './artifacts.js'
import { resultOf } from './result.js'

const COMMONJS = `const fs = require('node:fs')\nmodule.exports = (input) => fs.existsSync(input)`
const MODULE = `import { join } from 'node:path'\nexport default async (input) => join(input, 'x')`

/** @param {import('./ground.js').Settings} settings */
export async function warmUp({ tmp }) {
  for (const stream of [process.stdout, process.stderr]) writeWhole(stream)
  resultOf({ a: [1, 'b', null, new Date(0)] }, 1024)
  if (!tmp) return
  const folder = fs.mkdtempSync(path.join(tmp, '.mayfly-'))
  const [commonjs, module] = ['a.cjs', 'b.mjs'].map((name) => path.join(folder, name))
  fs.writeFileSync(commonjs, COMMONJS)
  fs.writeFileSync(module, MODULE)
  const require = createRequire(commonjs)
  require(commonjs)(folder)
  delete require.cache[commonjs]
  await (await import(pathToFileURL(module).href)).default(folder)
  gatherArtifacts(folder, 0, () => undefined)
  fs.rmSync(folder, { recursive: true })
}

/** What is written is gone when the write returns: a job that ends at once loses nothing. @param {any} stream */
function writeWhole(stream) {
  stream._handle?.setBlocking?.(true)
}
