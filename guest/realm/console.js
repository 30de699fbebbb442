// `console`: arguments are read without calling user code as far as possible, and only bounded text is sent to
// the host.
import { P } from './primordials.js'
import { ask, part } from './scope.js'

const GROUPS_MAX = 20
const LABELS_MAX = 1000
// Beyond the default output limit; the host counts and truncates.
const PLAIN_CHARS_MAX = 4_194_304
let indent = ''
const counts = new P.Map()
const starts = new P.Map()

/** Fast path for plain strings, the most common case. */
function format(args) {
  const isPlain =
    args.length === 1 && typeof args[0] === 'string' && args[0].length <= PLAIN_CHARS_MAX
  return isPlain ? args[0] : part('inspect').format(args)
}

function print(stream, text) {
  if (indent !== '') text = indent + P.arrayJoin(P.split(text, '\n'), '\n' + indent)
  ask(stream, text + '\n')
}

const label = (value) => (value === undefined ? 'default' : P.String(value))
const remember = (map, key, value) => {
  if (P.mapSize(map) < LABELS_MAX || P.mapHas(map, key)) P.mapSet(map, key, value)
}
const lapse = (key) => key + ': ' + (ask('clock') - P.mapGet(starts, key)) + 'ms'

const console = {
  log: (...args) => print('stdout', format(args)),
  info: (...args) => print('stdout', format(args)),
  debug: (...args) => print('stdout', format(args)),
  warn: (...args) => print('stderr', format(args)),
  error: (...args) => print('stderr', format(args)),
  trace: (...args) => {
    const mark = { __proto__: null }
    P.captureStackTrace(mark, console.trace)
    const at = typeof mark.stack === 'string' ? P.indexOf(mark.stack, '\n') : -1
    const stack = at < 0 ? '' : P.slice(mark.stack, at)
    print('stderr', 'Trace: ' + format(args) + part('inspect').userFrames(stack))
  },
  assert: (condition, ...args) => {
    if (condition) return
    const isText = args.length > 0 && typeof args[0] === 'string'
    const rest = args.length > 0 ? (isText ? ': ' : ' ') + format(args) : ''
    print('stderr', 'Assertion failed' + rest)
  },
  dir: (value, options) => print('stdout', part('inspect').inspect(value, options?.depth)),
  dirxml: (...args) => print('stdout', format(args)),
  table: (value, columns) => print('stdout', part('table').table(value, columns)),
  group: (...args) => {
    if (args.length > 0) print('stdout', format(args))
    if (indent.length < 2 * GROUPS_MAX) indent += '  '
  },
  groupEnd: () => {
    indent = P.slice(indent, 2)
  },
  count: (name) => {
    const key = label(name)
    remember(counts, key, (P.mapGet(counts, key) ?? 0) + 1)
    print('stdout', key + ': ' + (P.mapGet(counts, key) ?? 'too many labels'))
  },
  countReset: (name) => {
    P.mapDelete(counts, label(name))
  },
  time: (name) => remember(starts, label(name), ask('clock')),
  timeLog: (name, ...args) => {
    const key = label(name)
    if (P.mapHas(starts, key))
      print('stdout', lapse(key) + (args.length > 0 ? ' ' + format(args) : ''))
  },
  timeEnd: (name) => {
    const key = label(name)
    if (P.mapHas(starts, key)) print('stdout', lapse(key))
    P.mapDelete(starts, key)
  },
}
console.groupCollapsed = console.group

export { console }
