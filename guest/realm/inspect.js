// Values as text for the console, close to Node's format. Reads descriptors, so that getters are shown and not
// called, but for `Symbol.toStringTag`; a proxy cannot be told from its target, so its traps may run, inside the job's deadline.
import { P } from './primordials.js'
import { ask } from './scope.js'

const DEPTH_MAX = 2
const NESTING_MAX = 100
const ITEMS_MAX = 100
const STRING_CHARS_MAX = 10_000
const TOTAL_CHARS_MAX = 65_536
const TEXT_CHARS_MAX = 4_194_304
const ARGUMENTS_MAX = 1000
/** Node's `breakLength` and `compact`. */
const LINE_CHARS = 80
const COMPACT = 3
const COLUMNS_MAX = 12
const HOLES_MAX = 1_000_000
const PROTOTYPES_MAX = 32
const PLAIN = /^[ !#-&(-[\]-_a-~]*$/
const DIGITS = '0123456789abcdef'
const SHORT = { __proto__: null, 8: '\\b', 9: '\\t', 10: '\\n', 12: '\\f', 13: '\\r' }
const IDENTIFIER = /^[A-Za-z_]\w*$/
const FRAMES = '\n    at'
const ErrorPrototype = P.descriptorOf(P.Error, 'prototype').value

let room
/** Nesting of the last object shown: three levels force separate lines. */
let depth = 0
/** Remaining budget for skipping array holes in this call. */
let looks = 0

/** Formats the arguments of one console call, with printf verbs in a leading string. */
function format(args) {
  room = TOTAL_CHARS_MAX
  looks = HOLES_MAX
  let text = ''
  let next = 0
  if (typeof args[0] === 'string') {
    next = 1
    text = args.length === 1 ? printed(args[0]) : verbs(args, (count) => (next = count))
  }
  const count = P.min(args.length, ARGUMENTS_MAX)
  for (; next < count && hasRoom(); next++) {
    if (next > 0) text += ' '
    text += typeof args[next] === 'string' ? printed(args[next]) : show(args[next])
  }
  return text
}

const more = (count, what) =>
  '... ' +
  count +
  ' more ' +
  what +
  (what === 'item' ? (count > 1 ? 's' : '') : count > 1 ? 'ies' : 'y')
const hasRoom = () => room > 0

function verbs(args, consumed) {
  const template = clip(args[0], TOTAL_CHARS_MAX)
  let text = ''
  let next = 1
  let from = 0
  for (;;) {
    const at = P.indexOf(template, '%', from)
    if (at < 0 || at + 1 >= template.length) break
    const verb = template[at + 1]
    text += P.slice(template, from, at)
    from = at + 2
    if (verb === '%') text += '%'
    else if (P.indexOf('sdifjoOc', verb) < 0 || next >= args.length) text += '%' + verb
    else text += one(verb, args[next++])
  }
  consumed(next)
  return text + P.slice(template, from)
}

function one(verb, value) {
  switch (verb) {
    case 's':
      return plain(value)
    case 'c':
      return ''
    case 'j':
      return json(value)
    case 'o':
    case 'O':
      return show(value)
    default:
      return numeric(verb, value)
  }
}

/** Text of `%s`: the result of the program's own `toString`, else the value without nested values. */
function plain(value) {
  if (typeof value === 'string') return clip(value, TOTAL_CHARS_MAX)
  if (typeof value === 'function') return clip(P.functionToString(value), TOTAL_CHARS_MAX)
  if (typeof value !== 'object' || value === null) return show(value)
  const written = writtenText(value)
  return written === undefined
    ? show(value, DEPTH_MAX)
    : clip(P.String(P.apply(written, value, [])), TOTAL_CHARS_MAX)
}

/** The program's own `toString`; undefined if there is none, or if a proxy's trap throws. */
function writtenText(value) {
  try {
    const own = ofType('function', value, 'toString')
    if (own !== undefined && P.indexOf(P.functionToString(own), '[native code]') < 0) return own
  } catch {}
  return undefined
}

function numeric(verb, value) {
  if (typeof value === 'bigint') return verb === 'f' ? '' + P.Number(value) : bigint(value)
  if (typeof value === 'symbol' || typeof value === 'object') return 'NaN'
  if (verb === 'd') return '' + P.Number(value)
  const number = P.parseFloat(typeof value === 'string' ? P.slice(value, 0, 400) : value)
  return '' + (verb === 'i' && number - number === 0 ? P.trunc(number) : number)
}

function json(value) {
  try {
    return clip(P.stringify(value) ?? 'undefined', TOTAL_CHARS_MAX)
  } catch {
    return '[Circular]'
  }
}

/** Formats a single value, nested objects to a depth of 100 at most. */
function inspect(value, depthMax = DEPTH_MAX) {
  room = TOTAL_CHARS_MAX
  looks = HOLES_MAX
  const deep = depthMax === null ? NESTING_MAX : P.min(P.Number(depthMax), NESTING_MAX)
  return show(value, deep >= 0 ? DEPTH_MAX - deep : 0)
}

const show = (value, level = 0) => {
  const text = any(value, level, 0, { __proto__: null, path: new P.Set(), circles: new P.Map() })
  room -= text.length
  return text
}

/** Top-level text keeps its length up to four million characters: the host counts it against the output limit. */
function printed(text) {
  const more = text.length - TEXT_CHARS_MAX
  return more > 0 ? P.slice(text, 0, TEXT_CHARS_MAX) + '... ' + more + ' more characters' : text
}

function clip(text, unitsMax) {
  if (text.length > unitsMax || text.length > room) {
    const kept = P.min(unitsMax, P.max(room, 0))
    text =
      P.slice(text, 0, kept) +
      '... ' +
      (text.length - kept) +
      ' more character' +
      (text.length - kept > 1 ? 's' : '')
  }
  room -= text.length
  return text
}

function any(value, level, indent, seen) {
  switch (typeof value) {
    case 'string':
      return quoteWithin(clip(value, STRING_CHARS_MAX), indent)
    case 'number':
      return P.is(value, -0) ? '-0' : '' + value
    case 'bigint':
      return bigint(value)
    case 'symbol':
      return clip(P.symbolToString(value), STRING_CHARS_MAX)
    case 'object':
    case 'function':
      return value === null ? 'null' : careful(value, level, indent, seen)
    default:
      return '' + value
  }
}

const bigint = (value) =>
  P.bigIntAsIntN(32_768, value) === value
    ? P.bigIntToString(value) + 'n'
    : '[BigInt of more than 32,767 bits]'

/** Chooses the quotes with the fewest escapes. */
function quote(text) {
  let sign = "'"
  if (P.indexOf(text, "'") >= 0) {
    if (P.indexOf(text, '"') < 0) sign = '"'
    else if (P.indexOf(text, '`') < 0 && P.indexOf(text, '${') < 0) sign = '`'
  }
  if (P.regExpExec(PLAIN, text) !== null && P.indexOf(text, sign) < 0) return sign + text + sign
  let told = ''
  let from = 0
  for (let at = 0; at < text.length; at++) {
    const unit = text[at]
    const escape = unit === sign ? '\\' + sign : escaped(text, at)
    if (escape === undefined) continue
    told += P.slice(text, from, at) + escape
    from = at + 1
  }
  return sign + told + P.slice(text, from) + sign
}

function escaped(text, at) {
  const code = P.charCodeAt(text, at)
  if (code === 92) return '\\\\'
  if (code < 32 || (code > 126 && code < 160)) return SHORT[code] ?? '\\x' + hex(code, 2)
  if (code < 0xd800 || code > 0xdfff) return undefined
  const other = code < 0xdc00 ? at + 1 : at - 1
  const pair = other >= 0 && other < text.length ? P.charCodeAt(text, other) : 0
  const isPair = code < 0xdc00 ? pair >= 0xdc00 && pair <= 0xdfff : pair >= 0xd800 && pair < 0xdc00
  return isPair ? undefined : '\\u' + hex(code, 4)
}

function hex(code, digits) {
  let text = ''
  for (let left = digits; left > 0; left--) {
    text = (digits === 4 ? DIGITS : '0123456789ABCDEF')[code & 15] + text
    code >>>= 4
  }
  return text
}

/** Nested long text is broken at its own lines. */
function quoteWithin(text, indent) {
  const isLong = text.length > 16 && text.length > LINE_CHARS - indent - 4
  if (!isLong || P.indexOf(text, '\n') < 0) return quote(text)
  const lines = P.split(text, '\n')
  let told = ''
  for (let index = 0; index < lines.length; index++) {
    const isLast = index + 1 === lines.length
    if (isLast && lines[index] === '') break
    const line = quote(isLast ? lines[index] : lines[index] + '\n')
    told += (told === '' ? '' : ' +\n' + P.repeat(' ', indent + 2)) + line
  }
  return told
}

function careful(value, level, indent, seen) {
  if (P.setHas(seen.path, value)) return '[Circular *' + circleOf(value, seen.circles) + ']'
  if (room <= 0) return '…'
  P.setAdd(seen.path, value)
  try {
    return object(value, level, indent, seen)
  } catch {
    return '[unreadable]'
  } finally {
    P.setDelete(seen.path, value)
  }
}

/** Number of an object that contains itself. */
function circleOf(value, circles) {
  if (!P.mapHas(circles, value)) P.mapSet(circles, value, P.mapSize(circles) + 1)
  return P.mapGet(circles, value)
}

function object(value, level, indent, seen) {
  const own = ofType('function', value, P.symbolInspect)
  if (own !== undefined) {
    const told = P.apply(own, value, [DEPTH_MAX - level, { __proto__: null, depth: DEPTH_MAX }])
    if (told !== value)
      return typeof told === 'string' ? clip(told, TOTAL_CHARS_MAX) : any(told, level, indent, seen)
  }
  const kind = kindOf(value)
  const isList = kind.items !== undefined && kind.open === '['
  const hasEntries = !isEmpty(value, kind) || (kind.isStack && hasCauses(value))
  if (level > DEPTH_MAX && (kind.text === undefined || kind.isStack) && hasEntries)
    return kind.isBare ? kind.name : '[' + (kind.name || 'Object') + ']'
  if (hasEntries) depth = level
  const entries = []
  const child = (item) => any(item, level + 1, indent + 2, seen)
  if (kind.items !== undefined) kind.items(entries, child)
  properties(value, kind, entries, child)
  const text = kind.isStack ? indented(kind.text, indent) : kind.text
  if (kind.isStack) causes(value, entries, child)
  if (text !== undefined && entries.length === 0) return text
  const before = text ?? kind.prefix
  const circle = P.mapGet(seen.circles, value)
  const reference = circle === undefined ? '' : '<ref *' + circle + '> '
  const head = reference + (before === '' ? '' : before + ' ')
  const [open, close] = kind.open === '[' ? ['[', ']'] : ['{', '}']
  if (entries.length === 0) return head + open + close
  const isFlat = level > depth - COMPACT
  return layOut(entries, {
    head,
    base: text ?? reference,
    open,
    close,
    indent,
    isFlat,
    value: isList ? value : undefined,
  })
}

const indented = (text, indent) =>
  indent === 0 ? text : P.arrayJoin(P.split(text, '\n'), '\n' + P.repeat(' ', indent))

/** Hidden properties that tell why an error was thrown. */
const CAUSES = ['cause', 'errors']
const hasCauses = (error) => P.hasOwn(error, 'cause') || P.hasOwn(error, 'errors')

function causes(error, entries, child) {
  for (let index = 0; index < CAUSES.length; index++) {
    const property = P.descriptorOf(error, CAUSES[index])
    if (property !== undefined && !property.enumerable)
      push(entries, '[' + CAUSES[index] + ']: ' + described(property, child))
  }
}

/** Property of this type of a value, or of the nearest prototype that has it; getters are not called. */
function ofType(type, value, name) {
  let at = value
  for (let steps = 0; at !== null && steps < PROTOTYPES_MAX; steps++) {
    const property = P.descriptorOf(at, name)
    if (property !== undefined) return typeof property.value === type ? property.value : undefined
    at = P.prototypeOf(at)
  }
  return undefined
}

function isEmpty(value, kind) {
  if (kind.count > 0) return false
  const keys = P.ownKeys(value)
  for (let index = 0; index < keys.length; index++) {
    const key = keys[index]
    if (kind.skips !== undefined && kind.skips(key)) continue
    if (P.descriptorOf(value, key)?.enumerable) return false
  }
  return true
}

function push(entries, text) {
  P.append(entries, text)
  room -= text.length
}

/** Layout by Node's rules: one line if short, columns for a list of more than six, else an entry a line. */
function layOut(entries, { head, base, open, close, indent, isFlat, value }) {
  const rows =
    value !== undefined && entries.length > 6 ? inColumns(entries, indent, value) : entries
  if (
    isFlat &&
    rows.length === entries.length &&
    isShort(entries, head.length + indent + (base === '' ? 11 : 10), base)
  ) {
    const line = P.arrayJoin(entries, ', ')
    if (P.indexOf(line, '\n') < 0) return head + open + ' ' + line + ' ' + close
  }
  const gap = '\n' + P.repeat(' ', indent)
  return head + open + gap + '  ' + P.arrayJoin(rows, ',' + gap + '  ') + gap + close
}

function isShort(entries, used, base) {
  let length = entries.length + entries.length + used
  for (let index = 0; index < entries.length; index++) length += entries[index].length
  return length <= LINE_CHARS && P.indexOf(base, '\n') < 0
}

function inColumns(entries, indent, value) {
  const isCut = entries.length > ITEMS_MAX
  const count = isCut ? entries.length - 1 : entries.length
  const widths = P.setPrototypeOf([], null)
  let total = 0
  let widest = 0
  for (let index = 0; index < count; index++) {
    widths[index] = widthOf(entries[index])
    total += widths[index] + 2
    widest = P.max(widest, widths[index])
  }
  const full = widest + 2
  if (full * 3 + indent >= LINE_CHARS || (total / full <= 5 && widest > 6)) return entries
  const biased = P.max(full - 3 - P.sqrt(full - total / entries.length), 1)
  const columns = P.min(
    P.min(P.round(P.sqrt(2.5 * biased * count) / biased), P.trunc((LINE_CHARS - indent) / full)),
    COLUMNS_MAX,
  )
  if (columns <= 1) return entries
  const isNumeric = areNumbers(value, entries.length)
  const room = columnWidths(widths, columns, count)
  const rows = []
  for (let from = 0; from < count; from += columns) {
    let row = ''
    const end = P.min(from + columns, count)
    for (let at = from; at < end; at++) {
      const isLast = at + 1 === end
      const padding = P.repeat(' ', room[at - from] - widths[at])
      const text = entries[at] + (isLast ? '' : ', ')
      row += isNumeric ? padding + text : isLast ? text : text + padding
    }
    P.append(rows, row)
  }
  if (isCut) P.append(rows, entries[count])
  return rows
}

function areNumbers(value, count) {
  for (let index = 0; index < count; index++) {
    const item = P.descriptorOf(value, index)?.value
    if (typeof item !== 'number' && typeof item !== 'bigint') return false
  }
  return true
}

function columnWidths(widths, columns, count) {
  const room = P.setPrototypeOf([], null)
  for (let column = 0; column < columns; column++) {
    room[column] = 0
    for (let at = column; at < count; at += columns) room[column] = P.max(room[column], widths[at])
  }
  return room
}

/** Terminal cells: East Asian characters take two. */
function widthOf(text) {
  let width = text.length
  for (let at = 0; at < text.length; at++) {
    const code = P.charCodeAt(text, at)
    if ((code >= 0x1100 && code <= 0x115f) || (code >= 0x2e80 && code <= 0xa4cf)) width++
    else if ((code >= 0xac00 && code <= 0xd7a3) || (code >= 0xf900 && code <= 0xfaff)) width++
    else if (code >= 0xff00 && code <= 0xff60) width++
  }
  return width
}

function properties(value, kind, entries, child) {
  const keys = P.ownKeys(value)
  let shown = 0
  let hidden = 0
  for (let index = 0; index < keys.length && room > 0; index++) {
    const key = keys[index]
    if (kind.skips !== undefined && kind.skips(key)) continue
    const property = P.descriptorOf(value, key)
    if (property === undefined || !property.enumerable) continue
    if (shown++ >= ITEMS_MAX) hidden++
    else push(entries, name(key) + ': ' + described(property, child))
  }
  if (hidden > 0) push(entries, more(hidden, 'propert'))
}

function described(property, child) {
  if (P.hasOwn(property, 'value')) return child(property.value)
  if (property.get === undefined) return '[Setter]'
  return property.set === undefined ? '[Getter]' : '[Getter/Setter]'
}

function name(key) {
  if (typeof key === 'symbol') return clip(P.symbolToString(key), 200)
  const short = clip(key, 200)
  return P.regExpExec(IDENTIFIER, short) === null ? quote(short) : short
}

/** Classifies a value by its internal slots: prefix, brackets, items, or its whole text. */
function kindOf(value) {
  const className = classOf(value)
  const tag = tagOf(value)
  if (typeof value === 'function') return whole(functionText(value, className))
  if (P.isArray(value)) return listKind(value, className, tag)
  const typed = P.typedTag(value)
  if (typed !== undefined) return numbers(value, className, tag, typed)
  const slots = [
    dateKind,
    mapKind,
    setKind,
    regExpKind,
    bufferKind,
    viewKind,
    weakKind,
    boxedKind,
    promiseKind,
    errorKind,
  ]
  for (let index = 0; index < slots.length; index++) {
    const kind = attempt(slots[index], value, className, tag)
    if (kind !== undefined) return kind
  }
  const prefix = className === 'Object' && tag === '' ? '' : prefixOf(className, tag, 'Object')
  return named(prefix, className, prefix || 'Object', '{')
}

/** `name` stands for the value beyond the depth, in brackets unless it has some (`isBare`). */
const named = (prefix, className, name, open, items, count) => ({
  __proto__: null,
  prefix,
  name,
  isBare: className === undefined,
  open,
  items,
  count,
  skips: open === '[' ? isIndex : undefined,
})

/** Class and `toStringTag` of a value, as Node names it. */
function prefixOf(className, tag, fallback, size = '') {
  const isSame = tag === (className ?? fallback)
  if (className === undefined)
    return (
      '[' + fallback + size + ': null prototype]' + (tag === '' || isSame ? '' : ' [' + tag + ']')
    )
  if (tag === '' || isSame) return className + size
  const isQualified =
    tag.length > className.length && P.slice(tag, -className.length - 1) === '.' + className
  return isQualified ? tag + size : className + size + ' [' + tag + ']'
}

/** `toStringTag`, unless it is shown as a property. */
function tagOf(value) {
  try {
    const tag = value[P.symbolToStringTag]
    return typeof tag === 'string' && !P.isEnumerable(value, P.symbolToStringTag)
      ? P.slice(tag, 0, 100)
      : ''
  } catch {
    return ''
  }
}

function attempt(read, value, className, tag) {
  try {
    return read(value, className, tag)
  } catch {
    return undefined
  }
}

const whole = (text, skips) => ({ __proto__: null, prefix: '', open: '{', text, skips })

/** Nearest constructor's name, read from descriptors only; undefined without one. */
function classOf(value) {
  let at = value
  for (let hops = 0; hops < PROTOTYPES_MAX; hops++) {
    const made = P.constructorOf(at)
    if (typeof made === 'function') {
      const name = nameOf(made)
      const prototype = P.descriptorOf(made, 'prototype')?.value
      if (name !== '' && inherits(value, prototype)) return name
    }
    at = P.prototypeOf(at)
    if (at === null) return undefined
  }
  return 'Object'
}

function inherits(value, prototype) {
  let at = P.prototypeOf(value)
  for (let hops = 0; at !== null && hops < PROTOTYPES_MAX; hops++) {
    if (at === prototype) return true
    at = P.prototypeOf(at)
  }
  return false
}

/** Own name of a function, if it is a text. */
function nameOf(value) {
  const name = P.descriptorOf(value, 'name')?.value
  return typeof name === 'string' ? P.slice(name, 0, 100) : ''
}

const FUNCTIONS = ['Function', 'AsyncFunction', 'GeneratorFunction', 'AsyncGeneratorFunction']

function functionText(value, className) {
  const label = nameOf(value)
  const isClass = P.indexOf(P.slice(P.functionToString(value), 0, 6), 'class') === 0
  const parent = isClass ? P.prototypeOf(value) : null
  const base = parent === null ? '' : nameOf(parent)
  if (isClass)
    return '[class ' + (label || '(anonymous)') + (base === '' ? '' : ' extends ' + base) + ']'
  let type = 'Function'
  for (let index = 0; index < FUNCTIONS.length; index++)
    if (FUNCTIONS[index] === className) type = className
  const text =
    '[' +
    type +
    (className === undefined ? ' (null prototype)' : '') +
    (label === '' ? ' (anonymous)' : ': ' + label) +
    ']'
  return className === undefined || className === type ? text : text + ' ' + className
}

function listKind(value, className, tag) {
  const items = (entries, child) => {
    const { length } = value
    let index = 0
    for (let shown = 0; shown < ITEMS_MAX && index < length && room > 0 && looks > 0; shown++) {
      const property = P.descriptorOf(value, index)
      if (property === undefined) {
        const from = index
        // A sparse array may have billions of holes: the budget bounds the scan.
        while (index < length && looks-- > 0 && !P.hasOwn(value, index)) index++
        const holes = index - from
        push(entries, '<' + holes + ' empty item' + (holes > 1 ? 's' : '') + '>')
      } else {
        push(entries, described(property, child))
        index++
      }
    }
    if (length > index) push(entries, more(length - index, 'item'))
  }
  const { length } = value
  const isPlain = className === 'Array' && tag === ''
  const prefix = isPlain ? '' : prefixOf(className, tag, 'Array', '(' + length + ')')
  return named(prefix, className, prefixOf(className, tag, 'Array'), '[', items, length)
}

const isIndex = (key) => typeof key === 'string' && key !== '' && '' + (key >>> 0) === key

function numbers(value, className, tag, typed) {
  const length = P.typedLength(value)
  const items = (entries, child) => {
    const count = P.min(length, ITEMS_MAX)
    for (let index = 0; index < count; index++) push(entries, child(value[index]))
    if (length > count) push(entries, more(length - count, 'item'))
  }
  const prefix = prefixOf(className, tag, typed, '(' + length + ')')
  return named(prefix, className, prefixOf(className, tag, typed), '[', items, length)
}

function dateKind(value, className, tag) {
  const time = P.dateGetTime(value)
  return subclassed('Date', className, tag, time === time ? P.dateToISO(value) : 'Invalid Date')
}

function subclassed(type, className, tag, text) {
  const prefix = prefixOf(className, tag, type)
  return whole(prefix === type ? text : prefix + ' ' + text)
}

function mapKind(value, className, tag) {
  const size = P.mapSize(value)
  const each = (visit) => P.mapForEach(value, visit)
  const textOf = (child, item, key) => child(key) + ' => ' + child(item)
  return collectionKind(['Map', className, tag], size, each, textOf)
}

function setKind(value, className, tag) {
  const size = P.setSize(value)
  const each = (visit) => P.setForEach(value, visit)
  return collectionKind(['Set', className, tag], size, each, (child, item) => child(item))
}

function collectionKind(names, size, each, textOf) {
  const type = names[0]
  const className = names[1]
  const tag = names[2]
  const items = (entries, child) => {
    let count = 0
    each((item, key) => {
      if (count++ < ITEMS_MAX && room > 0) push(entries, textOf(child, item, key))
    })
    if (count > ITEMS_MAX) push(entries, more(count - ITEMS_MAX, 'item'))
  }
  const prefix = prefixOf(className, tag, type, '(' + size + ')')
  return named(prefix, className, prefixOf(className, tag, type), '{', items, size)
}

function regExpKind(value, className, tag) {
  P.regExpSlot(value)
  const text = clip('/' + P.regExpSource(value) + '/' + P.regExpFlags(value), STRING_CHARS_MAX)
  return subclassed('RegExp', className, tag, text)
}

function bufferKind(value, className, tag) {
  const count = P.bufferByteLength(value)
  const bytes = new P.Uint8Array(value)
  const items = (entries) => {
    let text = ''
    for (let index = 0; index < count && index < ITEMS_MAX; index++)
      text += (index > 0 ? ' ' : '') + DIGITS[bytes[index] >> 4] + DIGITS[bytes[index] & 15]
    const left = count - ITEMS_MAX
    if (left > 0) text += ' ... ' + left + ' more byte' + (left > 1 ? 's' : '')
    push(entries, '[Uint8Contents]: <' + text + '>')
    push(entries, '[byteLength]: ' + count)
  }
  const prefix = prefixOf(className, tag, 'ArrayBuffer')
  return named(prefix, className, prefix, '{', items, 1)
}

function viewKind(value, className, tag) {
  const length = P.viewByteLength(value)
  const items = (entries, child) => {
    push(entries, '[byteLength]: ' + length)
    push(entries, '[byteOffset]: ' + P.viewOffset(value))
    push(entries, '[buffer]: ' + child(P.viewBuffer(value)))
  }
  const prefix = prefixOf(className, tag, 'DataView')
  return named(prefix, className, prefix, '{', items, 1)
}

function weakKind(value, className, tag) {
  const type = attempt(P.weakMapProbe, value) === undefined ? 'WeakSet' : 'WeakMap'
  if (type === 'WeakSet') P.weakSetProbe(value)
  const prefix = prefixOf(className, tag, type)
  const items = (entries) => push(entries, '<items unknown>')
  return named(prefix, className, prefix, '{', items, 1)
}

function boxedKind(value, className) {
  const readers = [
    P.valueOfString,
    P.valueOfNumber,
    P.valueOfBoolean,
    P.valueOfBigInt,
    P.valueOfSymbol,
  ]
  for (let index = 0; index < readers.length; index++) {
    const slot = attempt(readers[index], value)
    if (slot === undefined) continue
    const text = typeof slot === 'string' ? quote(clip(slot, STRING_CHARS_MAX)) : any(slot, 0, 0)
    return whole('[' + className + ': ' + text + ']', isIndex)
  }
  return undefined
}

function promiseKind(value, className, tag) {
  return inherits(value, P.PromisePrototype)
    ? whole(prefixOf(className, tag, 'Promise') + ' {}')
    : undefined
}

function errorKind(value, className, tag) {
  if (!P.isError(value) && !inherits(value, ErrorPrototype)) return undefined
  const told = P.descriptorOf(value, 'stack')
  const written = told === undefined || P.hasOwn(told, 'value') ? told?.value : value.stack
  const message = ofType('string', value, 'message')
  const isWritten = typeof written === 'string' && written !== ''
  // A name that a getter gives, as of a DOMException, is in the stack.
  const name =
    ofType('string', value, 'name') ??
    (isWritten ? P.split(P.split(written, '\n', 1)[0], ':', 1)[0] : 'Error')
  const stack = isWritten ? written : firstLine(name, message)
  const text = improved(userFrames(stack), className, tag, name)
  const hasFrames = P.indexOf(text, FRAMES, message ? P.max(P.indexOf(text, message), 0) : 0) >= 0
  const isTold = (key) => {
    const own = P.descriptorOf(value, key)?.value
    return typeof own !== 'string' || P.indexOf(stack, own) >= 0
  }
  const skips = (key) => key === 'stack' || ((key === 'message' || key === 'name') && isTold(key))
  const kind = whole(clip(hasFrames ? text : '[' + text + ']', STRING_CHARS_MAX), skips)
  kind.name = prefixOf(className, tag, 'Error')
  kind.isBare = className === undefined
  kind.isStack = true
  return kind
}

const firstLine = (name, message) =>
  message ? (name === '' ? message : name + ': ' + message) : name

/** Stack whose first line names the class, if only that of a parent is there. */
function improved(stack, className, tag, name) {
  const { length } = name
  const isNamed = P.slice(name, -5) === 'Error' && P.slice(stack, 0, length) === name
  const next = stack[length]
  if (!isNamed || className === undefined || !(next === undefined || next === ':' || next === '\n'))
    return stack
  const prefix = prefixOf(className, tag, 'Error')
  if (prefix === name) return stack
  const head = P.indexOf(prefix, name) >= 0 ? prefix : prefix + ' [' + name + ']'
  return head + P.slice(stack, length)
}

/** A stack with frames of the user's own source, at original positions. */
function userFrames(stack) {
  return ask('frames', P.slice(stack, 0, 16_384))
}

export { format, inspect, userFrames }
