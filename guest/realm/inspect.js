/* oxlint-disable unicorn/consistent-function-scoping -- a realm file is one function whose text is carried into an isolate */
// Values as text for the console, near to what Node prints. Reads descriptors, so getters are shown and
// not called; a proxy cannot be told from its target, so its traps may run, inside the job's deadline.
export default function (P, ask) {
  const DEPTH_MAX = 2
  const ITEMS_MAX = 100
  const STRING_CHARS_MAX = 10_000
  const TOTAL_CHARS_MAX = 65_536
  const TEXT_CHARS_MAX = 4_194_304
  const ARGUMENTS_MAX = 1000
  const LINE_CHARS = 72
  const IDENTIFIER = /^[A-Za-z_$][\w$]*$/

  let room

  /** All arguments of one console call, with printf verbs in a leading string. */
  function format(args) {
    room = TOTAL_CHARS_MAX
    let text = ''
    let next = 0
    if (typeof args[0] === 'string') {
      next = 1
      text = args.length === 1 ? whole(args[0]) : verbs(args, (count) => (next = count))
    }
    const count = P.min(args.length, ARGUMENTS_MAX)
    for (; next < count && hasRoom(); next++) {
      if (next > 0) text += ' '
      text += typeof args[next] === 'string' ? printed(args[next]) : show(args[next])
    }
    return text
  }

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
        return typeof value === 'string' ? clip(value, TOTAL_CHARS_MAX) : show(value)
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

  function numeric(verb, value) {
    if (typeof value === 'bigint') return verb === 'f' ? '' + P.Number(value) : bigint(value)
    if (typeof value === 'symbol' || typeof value === 'object') return 'NaN'
    if (verb === 'd') return '' + P.Number(value)
    const number = P.parseFloat(typeof value === 'string' ? P.slice(value, 0, 400) : value)
    return '' + (verb === 'i' && number - number === 0 ? P.trunc(number) : number)
  }

  function json(value) {
    try {
      return clip('' + P.stringify(value), TOTAL_CHARS_MAX)
    } catch {
      return '[Circular]'
    }
  }

  /** One value on its own. */
  function inspect(value) {
    room = TOTAL_CHARS_MAX
    return show(value)
  }

  const show = (value) => {
    const text = any(value, 0, 0, new P.Set())
    room -= text.length
    return text
  }

  /** What somebody prints as text is theirs to size: the host counts it against the job's output, and cuts. */
  function printed(text) {
    return text.length > TEXT_CHARS_MAX ? P.slice(text, 0, TEXT_CHARS_MAX) : text
  }

  function clip(text, unitsMax) {
    if (text.length > unitsMax || text.length > room) {
      const kept = P.min(unitsMax, P.max(room, 0))
      text = P.slice(text, 0, kept) + '… ' + (text.length - kept) + ' more characters'
    }
    room -= text.length
    return text
  }

  function any(value, level, indent, seen) {
    switch (typeof value) {
      case 'string':
        return quote(clip(value, STRING_CHARS_MAX))
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

  function quote(text) {
    const json = P.stringify(text)
    if (P.indexOf(text, "'") >= 0) return json
    return "'" + P.arrayJoin(P.split(P.slice(json, 1, -1), '\\"'), '"') + "'"
  }

  function careful(value, level, indent, seen) {
    if (P.setHas(seen, value)) return '[Circular *1]'
    if (room <= 0) return '…'
    P.setAdd(seen, value)
    try {
      return object(value, level, indent, seen)
    } catch {
      return '[unreadable]'
    } finally {
      P.setDelete(seen, value)
    }
  }

  function object(value, level, indent, seen) {
    const kind = kindOf(value)
    const isList = kind.items !== undefined && kind.open === '['
    if (level > DEPTH_MAX && kind.text === undefined)
      return '[' + (isList ? 'Array' : kind.name || 'Object') + ']'
    const entries = []
    const child = (item) => any(item, level + 1, indent + 2, seen)
    if (kind.items !== undefined) kind.items(entries, child)
    properties(value, kind, entries, child)
    if (kind.text !== undefined && entries.length === 0) return kind.text
    const before = kind.text ?? kind.prefix
    const head = before === '' ? '' : before + ' '
    const [open, close] = kind.open === '[' ? ['[', ']'] : ['{', '}']
    if (entries.length === 0) return head + open + close
    return head + layOut(entries, open, close, indent, head.length, isList)
  }

  function push(entries, text) {
    P.defineProperty(entries, entries.length, {
      __proto__: null,
      value: text,
      writable: true,
      enumerable: true,
      configurable: true,
    })
    room -= text.length
  }

  function layOut(entries, open, close, indent, used, isList) {
    let length = used + indent
    let isFlat = true
    for (let index = 0; index < entries.length; index++) {
      length += entries[index].length + 2
      if (P.indexOf(entries[index], '\n') >= 0) isFlat = false
    }
    if (isFlat && length <= LINE_CHARS) return open + ' ' + P.arrayJoin(entries, ', ') + ' ' + close
    const gap = '\n' + P.repeat(' ', indent)
    const body =
      isList && isFlat ? filled(entries, gap + '  ') : P.arrayJoin(entries, ',' + gap + '  ')
    return open + gap + '  ' + body + gap + close
  }

  function filled(entries, gap) {
    let text = ''
    let column = 0
    for (let index = 0; index < entries.length; index++) {
      const entry = entries[index] + (index + 1 < entries.length ? ',' : '')
      if (index > 0 && column + entry.length > LINE_CHARS) {
        text += gap
        column = 0
      } else if (index > 0) text += ' '
      text += entry
      column += entry.length + 1
    }
    return text
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
    if (hidden > 0) push(entries, '... ' + hidden + ' more properties')
  }

  function described(property, child) {
    if (P.hasOwn(property, 'value')) return child(property.value)
    if (property.get === undefined) return '[Setter]'
    return property.set === undefined ? '[Getter]' : '[Getter/Setter]'
  }

  function name(key) {
    if (typeof key === 'symbol') return '[' + clip(P.symbolToString(key), 200) + ']'
    const short = clip(key, 200)
    return P.regExpExec(IDENTIFIER, short) === null ? quote(short) : short
  }

  /** What a value is by its slots: its prefix, its brackets, its items, or its whole text. */
  function kindOf(value) {
    const className = classOf(value)
    if (typeof value === 'function') return whole(functionText(value, className))
    if (P.isArray(value)) return listKind(value, className)
    const typed = P.typedTag(value)
    if (typed !== undefined) return numbers(value, typed)
    const slots = [
      dateKind,
      mapKind,
      setKind,
      regExpKind,
      bufferKind,
      boxedKind,
      promiseKind,
      errorKind,
    ]
    for (let index = 0; index < slots.length; index++) {
      const kind = attempt(slots[index], value, className)
      if (kind !== undefined) return kind
    }
    const prefix =
      className === 'Object' ? '' : className === undefined ? '[Object: null prototype]' : className
    return { __proto__: null, prefix, name: prefix === '' ? 'Object' : prefix, open: '{' }
  }

  function attempt(read, value, className) {
    try {
      return read(value, className)
    } catch {
      return undefined
    }
  }

  const whole = (text) => ({ __proto__: null, prefix: '', open: '{', text })

  /** The name of the nearest constructor, read from descriptors alone. */
  function classOf(value) {
    for (let hops = 0; hops < 20; hops++) {
      const property = P.descriptorOf(value, 'constructor')
      if (property !== undefined && typeof property.value === 'function') {
        const name = P.descriptorOf(property.value, 'name')
        if (name !== undefined && typeof name.value === 'string' && name.value !== '')
          return P.slice(name.value, 0, 100)
      }
      value = P.prototypeOf(value)
      if (value === null) return undefined
    }
    return 'Object'
  }

  function functionText(value, className) {
    const own = P.descriptorOf(value, 'name')
    const label =
      own !== undefined && typeof own.value === 'string' && own.value !== ''
        ? P.slice(own.value, 0, 100)
        : ''
    const isClass = P.indexOf(P.slice(P.functionToString(value), 0, 6), 'class') === 0
    if (isClass) return '[class ' + (label || '(anonymous)') + ']'
    return '[' + (className ?? 'Function') + (label === '' ? ' (anonymous)' : ': ' + label) + ']'
  }

  function listKind(value, className) {
    const items = (entries, child) => {
      const count = P.min(value.length, ITEMS_MAX)
      for (let index = 0; index < count && room > 0; index++) {
        const property = P.descriptorOf(value, index)
        push(entries, property === undefined ? '<empty>' : described(property, child))
      }
      if (value.length > count) push(entries, '... ' + (value.length - count) + ' more items')
    }
    const prefix = className === 'Array' ? '' : (className ?? 'Array') + '(' + value.length + ')'
    return { __proto__: null, prefix, open: '[', items, skips: isIndex }
  }

  const isIndex = (key) => typeof key === 'string' && key !== '' && '' + (key >>> 0) === key

  function numbers(value, tag) {
    const length = P.typedLength(value)
    const items = (entries, child) => {
      const count = P.min(length, ITEMS_MAX)
      for (let index = 0; index < count; index++) push(entries, child(value[index]))
      if (length > count) push(entries, '... ' + (length - count) + ' more items')
    }
    return { __proto__: null, prefix: tag + '(' + length + ')', open: '[', items, skips: isIndex }
  }

  function dateKind(value) {
    const time = P.dateGetTime(value)
    return whole(time === time ? P.dateToISO(value) : 'Invalid Date')
  }

  function mapKind(value, className) {
    const size = P.mapSize(value)
    const items = (entries, child) => {
      let count = 0
      P.mapForEach(value, (item, key) => {
        if (count++ < ITEMS_MAX && room > 0) push(entries, child(key) + ' => ' + child(item))
      })
      if (count > ITEMS_MAX) push(entries, '... ' + (count - ITEMS_MAX) + ' more items')
    }
    return {
      __proto__: null,
      prefix: className + '(' + size + ')',
      name: className,
      open: '{',
      items,
    }
  }

  function setKind(value, className) {
    const size = P.setSize(value)
    const items = (entries, child) => {
      let count = 0
      P.setForEach(value, (item) => {
        if (count++ < ITEMS_MAX && room > 0) push(entries, child(item))
      })
      if (count > ITEMS_MAX) push(entries, '... ' + (count - ITEMS_MAX) + ' more items')
    }
    return {
      __proto__: null,
      prefix: className + '(' + size + ')',
      name: className,
      open: '{',
      items,
    }
  }

  function regExpKind(value) {
    P.regExpSlot(value)
    return whole(clip('/' + P.regExpSource(value) + '/' + P.regExpFlags(value), STRING_CHARS_MAX))
  }

  function bufferKind(value) {
    return whole('ArrayBuffer { byteLength: ' + P.bufferByteLength(value) + ' }')
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
      return {
        __proto__: null,
        prefix: '',
        open: '{',
        text: '[' + className + ': ' + text + ']',
        skips: isIndex,
      }
    }
    return undefined
  }

  function promiseKind(value, className) {
    for (let proto = P.prototypeOf(value); proto !== null; proto = P.prototypeOf(proto)) {
      if (proto === P.PromisePrototype) return whole(className + ' {}')
    }
    return undefined
  }

  function errorKind(value, className) {
    if (!P.isError(value)) return undefined
    const stack = P.descriptorOf(value, 'stack')
    const text =
      stack === undefined ? undefined : P.hasOwn(stack, 'value') ? stack.value : value.stack
    if (typeof text === 'string' && text !== '') {
      return {
        __proto__: null,
        prefix: '',
        open: '{',
        text: clip(userFrames(text), STRING_CHARS_MAX),
        skips: isStack,
      }
    }
    const message = P.descriptorOf(value, 'message')
    const what =
      message !== undefined && typeof message.value === 'string' ? ': ' + message.value : ''
    return whole('[' + clip(className + what, STRING_CHARS_MAX) + ']')
  }

  const isStack = (key) => key === 'stack' || key === 'message'

  /** A stack with the lines of the user's own source, as that was written. */
  function userFrames(stack) {
    return ask('frames', P.slice(stack, 0, 16_384))
  }

  return { __proto__: null, format, inspect, userFrames }
}
