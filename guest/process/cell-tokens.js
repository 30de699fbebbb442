/**
 * Splits JavaScript into tokens, as far as needed to find `import` and `export`: words, punctuation, literals; comments are
 * skipped. A slash is a division or starts a regular expression depending on the token before it and, after a closing
 * bracket, on the token before the opening bracket, as in es-module-lexer. Runs on the user's own source in the user's own
 * process; a source that it misreads fails to compile.
 */

/** @typedef {{ type: 'word' | 'punctuation' | 'string' | 'template' | 'number' | 'regex', text: string, start: number, end: number, depth: number }} Token */

const SPACE = /[\s\ufeff]/
const WORD_START = /[\p{ID_Start}$_#\\]/u
const WORD = /(?:[\p{ID_Continue}$#\u200c\u200d]|\\u(?:\{[\da-fA-F]+\}|[\da-fA-F]{4}))+/uy
const NUMBER = /(?:0[xXoObB][\da-fA-F_]+n?|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?[\d_]+)?n?)/y
const PUNCTUATION = /=>|\.\.\.|\?\.(?!\d)|\+\+|--|[^]/y
/** Keywords after which an expression begins. */
const BEFORE_EXPRESSION = new Set(
  'return typeof case do else in of instanceof new void delete throw yield await default extends'.split(
    ' ',
  ),
)
const BEFORE_PARENTHESIS = new Set(['if', 'while', 'for', 'with'])
const BEFORE_BLOCK = new Set(['else', 'do', 'try', 'finally', 'static'])

/** @param {string} code @returns {Token[]} throws for an unterminated literal */
export function tokensOf(code) {
  return new Tokens(code).read()
}

class Tokens {
  #code
  #at = 0
  /** @type {Token[]} */
  #tokens = []
  /** Open brackets: the token before each, and its kind. @type {{ text: string, before: Token | undefined, isBlock: boolean, isTemplate: boolean }[]} */
  #open = []
  /** The bracket closed last. @type {{ text: string, before: Token | undefined, isBlock: boolean } | undefined} */
  #closed

  /** @param {string} code */
  constructor(code) {
    this.#code = code
  }

  read() {
    const code = this.#code
    if (code.startsWith('#!')) this.#at = this.#lineEnd(0)
    while (this.#at < code.length) this.#next()
    return this.#tokens
  }

  #next() {
    const code = this.#code
    const char = code[this.#at] ?? ''
    const two = code.slice(this.#at, this.#at + 2)
    if (SPACE.test(char)) this.#at++
    else if (two === '//') this.#at = this.#lineEnd(this.#at)
    else if (two === '/*') this.#at = this.#behind('*/', this.#at + 2)
    else if (char === '"' || char === "'") this.#add('string', this.#stringEnd(char))
    else if (char === '`') this.#template(this.#at, this.#at + 1)
    else if (char === '/' && this.#mayBeRegex()) this.#add('regex', this.#regexEnd())
    else if (/\d/.test(char) || (char === '.' && /\d/.test(two[1] ?? '')))
      this.#add('number', this.#matchEnd(NUMBER))
    else if (WORD_START.test(String.fromCodePoint(code.codePointAt(this.#at) ?? 0)))
      this.#add('word', this.#matchEnd(WORD))
    else this.#punctuation()
  }

  #punctuation() {
    const end = this.#matchEnd(PUNCTUATION)
    const text = this.#code.slice(this.#at, end)
    const before = this.#tokens.at(-1)
    if (text === '}' && this.#open.at(-1)?.isTemplate) {
      this.#open.pop()
      return this.#template(this.#at, end)
    }
    if (text === '(' || text === '[' || text === '{') {
      this.#add('punctuation', end)
      const isBlock = text === '{' && this.#opensBlock(before)
      this.#open.push({ text, before, isBlock, isTemplate: false })
      return
    }
    if (text === ')' || text === ']' || text === '}') this.#closed = this.#open.pop()
    this.#add('punctuation', end)
  }

  /** Reads a piece of a template, up to its end or to `${`. @param {number} start @param {number} at */
  #template(start, at) {
    const code = this.#code
    for (; at < code.length; at++) {
      if (code[at] === '\\') at++
      else if (code[at] === '`') return this.#add('template', at + 1, start)
      else if (code[at] === '$' && code[at + 1] === '{') {
        this.#add('punctuation', at + 2, start)
        this.#open.push({ text: '{', before: undefined, isBlock: false, isTemplate: true })
        return
      }
    }
    throw new SyntaxError('Unterminated template literal')
  }

  #mayBeRegex() {
    const before = this.#tokens.at(-1)
    if (!before) return true
    if (before.type === 'word') return this.#isKeyword(before, BEFORE_EXPRESSION)
    if (before.type !== 'punctuation') return false
    if (before.text === ')') {
      const word = this.#closed?.before
      return word !== undefined && this.#isKeyword(word, BEFORE_PARENTHESIS)
    }
    if (before.text === '}') return this.#closed?.isBlock === true
    return before.text !== ']' && before.text !== '++' && before.text !== '--'
  }

  /** @param {Token | undefined} before */
  #opensBlock(before) {
    if (!before) return true
    if (before.type === 'word')
      return !this.#isKeyword(before, BEFORE_EXPRESSION) || this.#isKeyword(before, BEFORE_BLOCK)
    if (before.type !== 'punctuation') return before.type === 'string'
    if (before.text === '}') return true
    if (before.text === ':') {
      const around = this.#open.at(-1)
      return around === undefined || around.isBlock
    }
    return [';', '{', ')', '=>'].includes(before.text)
  }

  /** True for a keyword that is not a member name. @param {Token} token @param {Set<string>} keywords */
  #isKeyword(token, keywords) {
    if (token.type !== 'word' || !keywords.has(token.text)) return false
    const before = this.#tokens[this.#tokens.lastIndexOf(token) - 1]
    return before === undefined || !isMember(before)
  }

  /** @param {Token['type']} type @param {number} end @param {number} [start] */
  #add(type, end, start = this.#at) {
    const text = this.#code.slice(start, end)
    this.#tokens.push({ type, text, start, end, depth: this.#open.length })
    this.#at = end
  }

  /** @param {string} quote */
  #stringEnd(quote) {
    const code = this.#code
    for (let at = this.#at + 1; at < code.length; at++) {
      if (code[at] === '\\') at++
      else if (code[at] === quote) return at + 1
      else if (code[at] === '\n') break
    }
    throw new SyntaxError('Unterminated string literal')
  }

  #regexEnd() {
    const code = this.#code
    let isClass = false
    for (let at = this.#at + 1; at < code.length && code[at] !== '\n'; at++) {
      const char = code[at]
      if (char === '\\') at++
      else if (char === '[') isClass = true
      else if (char === ']') isClass = false
      else if (char === '/' && !isClass) {
        at++
        while (/[a-z]/.test(code[at] ?? '')) at++
        return at
      }
    }
    throw new SyntaxError('Unterminated regular expression')
  }

  /** @param {RegExp} pattern sticky */
  #matchEnd(pattern) {
    pattern.lastIndex = this.#at
    return pattern.test(this.#code) ? pattern.lastIndex : this.#at + 1
  }

  /** @param {number} from */
  #lineEnd(from) {
    const found = this.#code.slice(from).search(/[\n\r\u2028\u2029]/)
    return found < 0 ? this.#code.length : from + found
  }

  /** @param {string} text @param {number} from */
  #behind(text, from) {
    const found = this.#code.indexOf(text, from)
    if (found < 0) throw new SyntaxError('Unterminated comment')
    return found + text.length
  }
}

/** @param {Token} token */
export function isMember({ text }) {
  return text === '.' || text === '?.'
}
