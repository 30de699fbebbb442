import { parse } from './realm/parse.js'

/** `JSON.parse` without V8's bug with escaped keys: see realm/parse.js. @type {(text: string) => unknown} */
export const parseJson = (text) => parse(text)

/** Limit of escaped keys in `parseJsonOfAnybody`. */
const ESCAPED_MAX = 50_000

/** Bounded variant for a process that serves several clients. @type {(text: string) => unknown} */
export const parseJsonOfAnybody = (text) => parse(text, ESCAPED_MAX)
