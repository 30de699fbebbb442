import makeParse from './realm/parse.js'
import primordials from './realm/primordials.js'

/** `JSON.parse` without V8's bug with escaped keys: see realm/parse.js. @type {(text: string) => unknown} */
export const parseJson = makeParse(primordials())

/** Bounded variant for a process that serves several clients. @type {(text: string) => unknown} */
export const parseJsonOfAnybody = makeParse(primordials(), 50_000)
