// console.table: rows of an array or object in a box, columns in order of first appearance.
import { P } from './primordials.js'
import { part } from './scope.js'

const ROWS_MAX = 200
const COLUMNS_MAX = 30
const CELL_CHARS_MAX = 200

function table(given, only) {
  const { inspect } = part('inspect')
  if (typeof given !== 'object' || given === null) return part('inspect').format([given])
  const data = listed(given)
  const cell = (value) =>
    P.slice(P.arrayJoin(P.split(inspect(value), '\n'), ' '), 0, CELL_CHARS_MAX)
  const names = columns(data, only)
  const rows = P.setPrototypeOf([], null)
  const keys = P.keys(data)
  for (let index = 0; index < keys.length && index < ROWS_MAX; index++) {
    rows[index] = row(keys[index], data[keys[index]], names, cell)
  }
  return draw(heading(names, hasPlain(data, keys)), rows)
}

/** Entries of a map, or items of a set, as a list; anything else as it is. */
function listed(data) {
  const list = []
  try {
    P.mapForEach(data, (Values, Key) => P.append(list, { __proto__: null, Key, Values }))
    return list
  } catch {
    // Not a map.
  }
  try {
    P.setForEach(data, (item) => P.append(list, item))
    return list
  } catch {
    return data
  }
}

const isObject = (value) => typeof value === 'object' && value !== null

function columns(data, only) {
  const names = P.setPrototypeOf([], null)
  const seen = new P.Set()
  const add = (name) => {
    if (P.setHas(seen, name) || names.length >= COLUMNS_MAX) return
    P.setAdd(seen, name)
    names[names.length] = name
  }
  if (P.isArray(only)) for (let index = 0; index < only.length; index++) add(P.String(only[index]))
  else {
    const keys = P.keys(data)
    for (let index = 0; index < keys.length && index < ROWS_MAX; index++) {
      const value = data[keys[index]]
      const inner = isObject(value) ? P.keys(value) : []
      for (let at = 0; at < inner.length; at++) add(inner[at])
    }
  }
  return names
}

function hasPlain(data, keys) {
  for (let index = 0; index < keys.length && index < ROWS_MAX; index++) {
    if (!isObject(data[keys[index]])) return true
  }
  return false
}

function heading(names, isPlain) {
  const cells = P.setPrototypeOf(['(index)'], null)
  for (let index = 0; index < names.length; index++) cells[index + 1] = names[index]
  if (isPlain) cells[names.length + 1] = 'Values'
  return cells
}

function row(key, value, names, cell) {
  const cells = P.setPrototypeOf([key], null)
  for (let index = 0; index < names.length; index++) {
    const has = isObject(value) && P.hasOwn(value, names[index])
    cells[index + 1] = has ? cell(value[names[index]]) : ''
  }
  if (!isObject(value)) cells[names.length + 1] = cell(value)
  return cells
}

function draw(heads, rows) {
  const widths = P.setPrototypeOf([], null)
  for (let at = 0; at < heads.length; at++) {
    widths[at] = heads[at].length + 2
    for (let index = 0; index < rows.length; index++) {
      widths[at] = P.max(widths[at], (rows[index][at] ?? '').length + 2)
    }
  }
  let text =
    rule(widths, '┌', '┬', '┐') + '\n' + line(heads, widths) + '\n' + rule(widths, '├', '┼', '┤')
  for (let index = 0; index < rows.length; index++) text += '\n' + line(rows[index], widths)
  return text + '\n' + rule(widths, '└', '┴', '┘')
}

function rule(widths, left, middle, right) {
  let text = left
  for (let at = 0; at < widths.length; at++) {
    text += (at > 0 ? middle : '') + P.repeat('─', widths[at])
  }
  return text + right
}

function line(cells, widths) {
  let text = '│'
  for (let at = 0; at < widths.length; at++) {
    const cell = cells[at] ?? ''
    text += ' ' + cell + P.repeat(' ', widths[at] - cell.length - 1) + '│'
  }
  return text
}

export { table }
