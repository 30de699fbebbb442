/**
 * Adds semantics of namespaces that the transformer lacks: an exported variable is a property of the namespace, and a
 * later block of the same namespace uses exports of an earlier one by their plain names. The transformer makes a
 * function of each block and knows the names of one at a time, so a later one gets copies of the constants it uses. An
 * `export let` is not copied, because a copy would go stale silently; its use throws "not defined".
 */

const OPENS = /^(\t*)\(function\(([\w$]+)\) \{$/
const CLOSES = /^(\t*)\}\)\(([\w$]+) \|\| \(/
/** Printed form of a constant export of a block. */
const FIXED = /^\t*(?:const ([\w$]+) = ([\w$]+)\.\1 = |([\w$]+)\.([\w$]+) = \4;$)/
const INNER = /^\t*\}\)\(([\w$]+) \|\| \(\1 = ([\w$]+)\.\1 \|\| /
/** Printed form of a mutable export. */
const CHANGING = /^(\t*(?:let|var) ([\w$]+) = )([\w$]+)\.\2 = /
const NAMESPACE = /\b(?:namespace|module)\s+[\w$.]+\s*\{/

/** @typedef {{ indent: string, parameter: string, from: number, to: number, name: string, path: string, names: string[] }} Block */

/**
 * Keeps the number of lines, and the columns of code from the source. @param {string} source @param {string}
 * code
 */
export function withNamespaces(source, code) {
  if (!NAMESPACE.test(source)) return code
  const lines = code.split('\n')
  /** @type {Map<string, string[]>} */
  const known = new Map()
  for (const { path, from, to, parameter, names } of blocksIn(lines)) {
    const earlier = known.get(path) ?? []
    const text = lines.slice(from + 1, to).join('\n')
    const used = earlier.filter((name) => !names.includes(name) && isUsed(name, text))
    if (used.length > 0) lines[from] += ` const { ${used.join(', ')} } = ${parameter};`
    for (let at = from + 1; at < to; at++) lines[from] += changing(lines, at, parameter)
    known.set(path, [...new Set([...earlier, ...names])])
  }
  return lines.join('\n')
}

/**
 * Ties an exported variable to its namespace property; the transformer emits a copy of the initial value.
 * @param {string[]} lines @param {number} at @param {string} parameter
 */
function changing(lines, at, parameter) {
  const line = lines[at] ?? ''
  const [, before, name, owner] = CHANGING.exec(line) ?? []
  if (before === undefined || owner !== parameter) return ''
  const copy = `${owner}.${name} = `
  lines[at] = before + ' '.repeat(copy.length) + line.slice(before.length + copy.length)
  return ` Object.defineProperty(${owner}, "${name}", { get: () => ${name}, set: (value) => ${name} = value, enumerable: true });`
}

/** Blocks in order of their start. @param {string[]} lines */
function blocksIn(lines) {
  /** @type {Block[]} */
  const open = []
  /** @type {Block[]} */
  const blocks = []
  for (const [at, line] of lines.entries()) {
    const [, indent, parameter] = OPENS.exec(line) ?? []
    if (indent !== undefined && parameter !== undefined)
      open.push({ indent, parameter, from: at, to: at, name: '', path: '', names: [] })
    const fixed = FIXED.exec(line)
    const owner = fixed && open.findLast((one) => one.parameter === (fixed[2] ?? fixed[3]))
    if (owner) owner.names.push(/** @type {string} */ (fixed?.[1] ?? fixed?.[4]))
    const closed = CLOSES.exec(line)
    if (!closed || open.at(-1)?.indent !== closed[1]) continue
    const block = /** @type {Block} */ (open.pop())
    const inner = INNER.exec(line)
    open.findLast((one) => one.parameter === inner?.[2])?.names.push(closed[2] ?? '')
    blocks.push({ ...block, name: closed[2] ?? '', to: at })
  }
  return blocks
    .map((block) => ({ ...block, path: pathOf(block, blocks) }))
    .sort((a, b) => a.from - b.from)
}

/** Qualified name, including enclosing blocks. @param {Block} block @param {Block[]} blocks */
function pathOf(block, blocks) {
  return blocks
    .filter(({ from, to }) => from <= block.from && to >= block.to)
    .sort((a, b) => a.from - b.from)
    .map(({ name }) => name)
    .join('.')
}

/** @param {string} name @param {string} text */
function isUsed(name, text) {
  const word = name.replaceAll('$', '\\$')
  const makes = new RegExp(
    `^\\t?(?:const|let|var|function\\*?|async function\\*?|class) ${word}(?![\\w$])`,
    'm',
  )
  return new RegExp(`(?<![.\\w$])${word}(?![\\w$])`).test(text) && !makes.test(text)
}
