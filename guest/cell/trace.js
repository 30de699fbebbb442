import v8 from 'node:v8'
import { parseJson } from '../parse-json.js'

/** Longer sources are not looked for among those that ran. */
const SOURCE_CHARS_MAX = 4 * 2 ** 20
/** Functions that are told, the first of the source. */
export const TRACED_MAX = 1000
const TIMEOUT_MS = 200

/**
 * V8's own words for what it counts itself, which only text that is compiled under a flag can use. All of it is compiled
 * at once: the flag is off again before it runs.
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
 * Counts which functions of one source run, and how often: from the first line of user code on, by the engine, so that
 * the source is as it was and nothing in its realm can be told from another. Hot loops are several times slower. It
 * stands in a context of its own: nothing that a guest changes is used here.
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

  /** The source that counts, as it is compiled. @param {string} before @param {string} code @param {string} after */
  of(before, code, after) {
    this.#before = before
    this.#text = before + code + after
    this.#length = code.length
  }

  /**
   * Where each function that ran begins and ends, in UTF-16 units of the source, and how often it was called; undefined
   * where that cannot be said any more.
   *
   * @returns {[start: number, end: number, calls: number][] | undefined}
   */
  take() {
    if (this.#text.length > SOURCE_CHARS_MAX) return undefined
    try {
      const [from, to] = [this.#before.length, this.#before.length + this.#length]
      const asked = [this.#text, from, to, TRACED_MAX]
      return parseJson(this.#take.applySync(undefined, asked, { timeout: TIMEOUT_MS }))
    } catch {
      // It ended with its isolate, or there is too much to tell.
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
