import v8 from 'node:v8'
import { parseJson } from '../parse-json.js'

/** Longer sources are not traced. */
const SOURCE_CHARS_MAX = 4 * 2 ** 20
/** Maximum functions reported, first ones of the source. */
export const TRACED_MAX = 1000
const TIMEOUT_MS = 200

/**
 * V8 natives that read its call counts; they compile only under a flag. The whole text is compiled eagerly, and
 * the flag is off again before it runs.
 */
const FLAG = 'allow-natives-syntax'
const TOOL = `({
  begin: (function () { %DebugTogglePreciseCoverage(true) }),
  take: (function (source, from, to, most) {
    const told = []
    for (const one of %DebugCollectCoverage()) {
      if (one.script !== source) continue
      for (let i = 0; i < one.length && told.length < most; i++)
        if (one[i].count > 0 && one[i].start >= from && one[i].end <= to && one[i].end - one[i].start < source.length)
          told.push([one[i].start - from, one[i].end - from, one[i].count])
    }
    return JSON.stringify(told)
  }),
})`

/**
 * Counts calls of each function of a source by V8's precise coverage, so that the source stays unmodified and
 * the tracing is invisible in its realm. Hot loops get several times slower. It runs in a context of its own,
 * beyond the reach of the guest.
 */
export class Trace {
  #take
  #before = ''
  #text = ''
  #length = 0

  /** @param {import('isolated-vm').Isolate} isolate one that is used for one job */
  constructor(isolate) {
    const tool = compiled(isolate).runSync(isolate.createContextSync(), { reference: true })
    this.#take = tool.getSync('take', { reference: true })
    tool.getSync('begin', { reference: true }).applySync()
  }

  /** Source to trace, as compiled. @param {string} before @param {string} code @param {string} after */
  of(before, code, after) {
    this.#before = before
    this.#text = before + code + after
    this.#length = code.length
  }

  /**
   * Range of each function that ran, in UTF-16 units of the source, with its call count; undefined if no longer
   * available.
   * @returns {[start: number, end: number, calls: number][] | undefined}
   */
  take() {
    if (this.#text.length > SOURCE_CHARS_MAX) return undefined
    try {
      const [from, to] = [this.#before.length, this.#before.length + this.#length]
      const asked = [this.#text, from, to, TRACED_MAX]
      return parseJson(this.#take.applySync(undefined, asked, { timeout: TIMEOUT_MS }))
    } catch {
      // The isolate ended, or there is too much to report.
      return undefined
    }
  }
}

/** @param {import('isolated-vm').Isolate} isolate */
function compiled(isolate) {
  v8.setFlagsFromString(`--${FLAG}`)
  try {
    return isolate.compileScriptSync(TOOL)
  } finally {
    v8.setFlagsFromString(`--no-${FLAG}`)
  }
}
