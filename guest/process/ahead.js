/** Streams a job's files to disk before the job's own frame, in pieces, to bound memory. */
import fs from 'node:fs'
import path from 'node:path'
import { parseJson } from '../parse-json.js'
import { placeBelow, placeOfInput, SCRIPT_MODE } from './ground.js'

/** @param {import('./ground.js').Settings} settings */
export function takeAhead(settings) {
  const { work } = settings
  /** @type {unknown} */
  let problem
  return {
    /** First error, reported to the job once it has arrived. */
    get problem() {
      return problem
    },
    /** @param {Buffer} payload */
    take(payload) {
      if (problem !== undefined) return
      try {
        if (!work) throw new Error('Cannot lay out the job: this wall has no writable folder')
        const end = payload.indexOf(10)
        lay(work, settings, parseJson(payload.toString('utf8', 0, end)), payload.subarray(end + 1))
      } catch (error) {
        problem = error
      }
    },
  }
}

/** @param {string} work @param {import('./ground.js').Settings} settings @param {any} head @param {Buffer} bytes */
function lay(work, settings, { path: name, stdin, first, executable }, bytes) {
  const to = stdin ? placeOfInput(settings) : placeBelow(work, name)
  if (first) fs.mkdirSync(path.dirname(to), { recursive: true })
  const isScript = executable || bytes.toString('latin1', 0, 2) === '#!'
  const fd = fs.openSync(to, first ? 'w' : 'a', isScript ? SCRIPT_MODE : 0o644)
  try {
    for (let at = 0; at < bytes.length;) at += fs.writeSync(fd, bytes, at)
  } finally {
    fs.closeSync(fd)
  }
}
