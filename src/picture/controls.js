import { bytesText, listText, plain } from './words.js'

/**
 * Openness of a control, read from a profile, from the reasons of an outcome, or from a timeline entry:
 * `closed` is none, `open` unlimited or as granted, `narrowed` in between.
 * @typedef {'open' | 'narrowed' | 'closed'} State
 * @typedef {{ state: State, text: string, share: number }} Reading `share` is 1 for open and 0 for closed
 */

/** In the order in which they are drawn. */
export const drawnControls = /** @type {const} */ ([
  'network',
  'files',
  'capabilities',
  'syscalls',
  'processes',
  'cpu',
  'memory',
  'io',
])

/** Values from here on mean no limit. */
const UNLIMITED = Number.MAX_SAFE_INTEGER
const NARROWED = 0.5

/** @type {Reading} */
const closed = { state: 'closed', text: 'none', share: 0 }

/**
 * @param {string} name
 * @param {unknown} value
 * @param {unknown} granted what the life began with
 * @returns {Reading}
 */
export function readControl(name, value, granted) {
  if (value === 'none') return closed
  if (value === 'open' || value === 'any' || value === 'unlimited')
    return { state: 'open', text: value, share: 1 }
  if (typeof value === 'number') return readNumber(name, value, granted)
  if (name === 'network' && isRecord(value)) return readNetwork(value)
  if (name === 'files' && isRecord(value)) return readFiles(value)
  if (Array.isArray(value)) return readNames(value)
  return { state: 'narrowed', text: plain(value, 60), share: NARROWED }
}

/** @param {string} name @param {number} value @param {unknown} granted @returns {Reading} */
function readNumber(name, value, granted) {
  if (!(value > 0)) return closed
  if (value >= UNLIMITED) return { state: 'open', text: 'unlimited', share: 1 }
  const text = Object.hasOwn(units, name) ? (units[name] ?? String)(value) : String(value)
  const whole = typeof granted === 'number' ? granted : value
  if (value >= whole) return { state: 'open', text, share: 1 }
  // A share of infinity is meaningless.
  const share = whole >= UNLIMITED ? NARROWED : Math.max(0.1, value / whole)
  return { state: 'narrowed', text, share }
}

/** @type {Readonly<Record<string, (value: number) => string>>} */
const units = {
  cpu: (cores) => `${Number(cores.toFixed(2))} ${cores === 1 ? 'core' : 'cores'}`,
  memory: bytesText,
  io: (bytes) => `${bytesText(bytes)}/s`,
  processes: (count) => `${Math.floor(count)} at most`,
}

/** @param {Record<string, unknown>} network @returns {Reading} */
function readNetwork({ allow, deny }) {
  const denied = textsOf(deny)
  if (allow === 'any' && denied.length === 0) return { state: 'open', text: 'open', share: 1 }
  const allowed = textsOf(allow)
  if (allow !== 'any' && allowed.length === 0) return closed
  const text = allow === 'any' ? `all but ${listText(denied)}` : listText(allowed.map(hostOf))
  return { state: 'narrowed', text, share: NARROWED }
}

/** Omits the default scheme and port. @param {string} pattern */
function hostOf(pattern) {
  return /^https:\/\/([^/:]+):443$/.exec(pattern)?.[1] ?? pattern
}

/** @param {Record<string, unknown>} files @returns {Reading} */
function readFiles(files) {
  const [read, write] = [textsOf(files['read']), textsOf(files['write'])]
  if (read.length + write.length === 0) return closed
  if (read.includes('/') && write.includes('/')) return { state: 'open', text: 'all', share: 1 }
  const parts = [
    read.length > 0 ? `read ${listText(read)}` : '',
    write.length > 0 ? `write ${listText(write)}` : '',
  ]
  return { state: 'narrowed', text: parts.filter(Boolean).join(', '), share: NARROWED }
}

/** @param {readonly unknown[]} names @returns {Reading} */
function readNames(names) {
  if (names.length === 0) return closed
  return { state: 'narrowed', text: listText(textsOf(names)), share: NARROWED }
}

/** @param {unknown} value @returns {string[]} */
function textsOf(value) {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
function isRecord(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
