/**
 * Rewrites `import` in a cell. A cell runs as a script of V8's REPL mode, which has top-level await and may declare a name
 * again, but has no static import, and its `import()` has no loader. Each becomes a call of a loader that resolves relative
 * to the working folder. Line numbers stay the same; a name is bound once, like a `const`, and is not a live binding.
 */
import { isMember, tokensOf } from './cell-tokens.js'

/** As long as `import`, so that columns stay the same. */
export const LOADER = '$load$'
export const META = '$loadMeta$$'

/** @typedef {import('./cell-tokens.js').Token} Token */
/** @typedef {{ start: number, end: number, text: string }} Piece */

/** @param {string} code @returns {{ code: string } | { message: string, line: number, column: number }} */
export function withLoader(code) {
  if (!/\b(?:im|ex)port\b/.test(code)) return { code }
  let tokens
  try {
    tokens = tokensOf(code)
  } catch {
    // V8 reports the syntax error.
    return { code }
  }
  /** @type {Piece[]} */
  const pieces = []
  for (let at = 0; at < tokens.length; at++) {
    const token = /** @type {Token} */ (tokens[at])
    if (token.type !== 'word' || isName(tokens, at)) continue
    if (token.text === 'export' && token.depth === 0 && !isKey(tokens[at + 1]))
      return { message: EXPORT, ...positionOf(code, token.start) }
    const piece = token.text === 'import' ? pieceOf(code, tokens, at) : undefined
    if (piece) pieces.push(piece)
  }
  return { code: replaced(code, pieces) }
}

const EXPORT = "A cell exports nothing: its names last from cell to cell without 'export'"

/** @param {readonly Token[]} tokens @param {number} at */
function isName(tokens, at) {
  const before = tokens[at - 1]
  return before !== undefined && isMember(before)
}

/** @param {Token | undefined} after */
function isKey(after) {
  return after !== undefined && [':', '(', '=', ',', ')', '.'].includes(after.text)
}

/** @param {string} code @param {readonly Token[]} tokens @param {number} at of `import` @returns {Piece | undefined} */
function pieceOf(code, tokens, at) {
  const token = /** @type {Token} */ (tokens[at])
  const after = tokens[at + 1]
  if (after?.text === '(')
    return isMethod(code, tokens, at) ? undefined : { ...token, text: LOADER }
  if (after?.text === '.') {
    const name = tokens[at + 2]
    if (name?.text !== 'meta') return undefined
    return { start: token.start, end: name.end, text: META }
  }
  return token.depth === 0 ? declaration(code, tokens, at) : undefined
}

/** `{ import(name) { … } }`: a body follows on the line. @param {string} code @param {readonly Token[]} tokens @param {number} at */
function isMethod(code, tokens, at) {
  const own = /** @type {Token} */ (tokens[at])
  let end = at + 2
  while (end < tokens.length && (tokens[end]?.depth ?? 0) > own.depth) end++
  const [close, body] = [tokens[end], tokens[end + 1]]
  if (own.depth === 0 || close === undefined || body?.text !== '{') return false
  return !code.slice(close.end, body.start).includes('\n')
}

/** @param {string} code @param {readonly Token[]} tokens @param {number} from @returns {Piece | undefined} */
function declaration(code, tokens, from) {
  const start = /** @type {Token} */ (tokens[from]).start
  const bound = bindings(tokens, from + 1)
  const specifier = bound && tokens[bound.at]
  if (!bound || specifier?.type !== 'string') return undefined
  const attributes = attributesOf(code, tokens, bound.at + 1)
  const end = attributes?.end ?? specifier.end
  const options = attributes ? `{ with: ${attributes.text} }` : 'undefined'
  const names = bound.names.length === 0 ? '' : `, [${bound.names.join(', ')}]`
  const hasOptions = attributes !== undefined || names !== ''
  const loaded = `await ${LOADER}(${specifier.text}${hasOptions ? `, ${options}${names}` : ''})`
  const lines = code.slice(start, end).split('\n').length - 1
  return { start, end, text: `${bound.text(loaded)};${'\n'.repeat(lines)}` }
}

/**
 * Bindings of a declaration, and where its specifier is; undefined where there is no declaration.
 * @param {readonly Token[]} tokens @param {number} at
 * @returns {{ at: number, names: string[], text: (loaded: string) => string } | undefined}
 */
function bindings(tokens, at) {
  if (tokens[at]?.type === 'string') return { at, names: [], text: (loaded) => `void ${loaded}` }
  /** @type {string[]} */
  const names = []
  /** @type {string[]} */
  const members = []
  let space = ''
  if (tokens[at]?.type === 'word') {
    names.push("'default'")
    members.push(`default: ${tokens[at++]?.text}`)
    if (tokens[at]?.text === ',') at++
  }
  if (tokens[at]?.text === '*' && tokens[at + 1]?.text === 'as') {
    space = tokens[at + 2]?.text ?? ''
    at += 3
  } else if (tokens[at]?.text === '{') {
    at++
    for (; tokens[at] && tokens[at]?.text !== '}'; at++) {
      if (tokens[at]?.text === ',') continue
      const name = tokens[at]?.text ?? ''
      const isRenamed = tokens[at + 1]?.text === 'as'
      const own = isRenamed ? tokens[at + 2]?.text : name
      names.push(/^['"]/.test(name) ? name : `'${name}'`)
      members.push(`${name}: ${own}`)
      if (isRenamed) at += 2
    }
    at++
  }
  if (tokens[at]?.text !== 'from') return undefined
  const own = `{ ${members.join(', ')} }`
  const text = (/** @type {string} */ loaded) => {
    if (space === '') return `const ${own} = ${loaded}`
    return `const ${space} = ${loaded}${members.length === 0 ? '' : `, ${own} = ${space}`}`
  }
  return { at: at + 1, names, text }
}

/** @param {string} code @param {readonly Token[]} tokens @param {number} at */
function attributesOf(code, tokens, at) {
  const [word, open] = [tokens[at], tokens[at + 1]]
  if (word?.text !== 'with' || open?.text !== '{') return undefined
  const close = tokens.slice(at).find(({ text }) => text === '}')
  if (!close) return undefined
  return { text: code.slice(open.start, close.end).replaceAll(/\s+/g, ' '), end: close.end }
}

/** @param {string} code @param {readonly Piece[]} pieces */
function replaced(code, pieces) {
  let text = ''
  let at = 0
  for (const piece of pieces) {
    text += code.slice(at, piece.start) + piece.text
    at = piece.end
  }
  return text + code.slice(at)
}

/** @param {string} code @param {number} at */
function positionOf(code, at) {
  const lines = code.slice(0, at).split('\n')
  return { line: lines.length, column: (lines.at(-1)?.length ?? 0) + 1 }
}
