/**
 * Depth check before any native parser. Parsers recurse: some 8,000 nested brackets, arrows or prefix operators
 * end the whole process in a segmentation fault, and the type stripper breaks for good at about 1,000. This
 * tokenizer reads the source once and estimates the depth a parser would reach.
 *
 * Without a grammar it overestimates: possible nesting counts until a token proves that it ended. An
 * ambiguous slash (or `<!--`) is read both ways, and the deeper reading counts. A source that deceives it kills
 * only a disposable process, with the same finding.
 */
export function capOf(source: string, limits: CapLimits = javascriptCap): Cap {
  if (source.length > sourceUnitsMax) return over('length', source.length, sourceUnitsMax)
  const first = new Reader(source, limits, false)
  const cap = first.read()
  if (cap.kind === 'over' || !first.ambiguous) return cap
  const second = new Reader(source, limits, true).read()
  return second.kind === 'over' || second.weight > cap.weight ? second : cap
}

export type Cap =
  | { readonly kind: 'within'; readonly tokens: number; readonly weight: number }
  | {
      readonly kind: 'over'
      readonly what: 'length' | 'tokens' | 'depth'
      readonly is: number
      readonly max: number
    }

/** `weightMax`: 4 for each level of nesting, 1 for each link of a chain such as `a + b + c` or `a.b.c`. */
export interface CapLimits {
  readonly weightMax: number
  /** True if `<` may open type arguments, and `!` may follow an operand. */
  readonly types: boolean
}

/** Maximum source, in UTF-16 units. */
export const sourceUnitsMax = 4 * 2 ** 20
export const tokensMax = 750_000
export const javascriptCap: CapLimits = { weightMax: 4_000, types: false }
/** The stripper has a smaller stack: it broke at 1,000 levels, and at some 500 of the greediest construct. */
export const typescriptCap: CapLimits = { weightMax: 1_000, types: true }

const NEST = 4
const LINK = 1

function over(what: 'length' | 'tokens' | 'depth', is: number, max: number): Cap {
  return { kind: 'over', what, is, max }
}

function words(text: string): ReadonlySet<string> {
  return new Set(text.split(' '))
}

/**
 * Words that an operand follows, regardless of line breaks: no statement ends there, and a slash starts a
 * regex.
 */
const prefixWords = words(
  'await case class const declare default delete do else export extends function if implements import in infer ' +
    'instanceof is keyof let new of readonly return throw try typeof unique using var void while with yield abstract as asserts ' +
    'satisfies for',
)
/** Prefix words that may also be plain names, before a division. */
const contextualWords = words(
  'abstract as asserts await declare infer is keyof let of readonly satisfies unique using yield',
)
const nestingWords = words(
  'await class delete extends infer keyof new readonly typeof unique void yield asserts',
)
const statementWords = words('do for if while with')
const infixWords = words('as extends from implements in instanceof is of satisfies')
/** Words that continue a statement after an apparent end at `;` or `}`. */
const continuingWords = words('catch else finally while')
const controlWords = words('for if while with')

type Previous =
  | 'start'
  | 'operand'
  | 'operator'
  | 'prefix'
  | 'dot'
  | 'brace'
  | 'contextual'
  | 'bang'

/** An open bracket, with the state saved at it. */
interface Frame {
  readonly opener: string
  readonly below: number
  readonly chain: number
  readonly statements: number
  readonly angles: number
  readonly control: boolean
}

class Reader {
  readonly #text: string
  readonly #limits: CapLimits
  /** Ambiguous slash and `<`: false reads a division and a comment, true a regex and operators. */
  readonly #other: boolean
  readonly #frames: Frame[] = []
  #at = 0
  #tokens = 0
  #deepest = 0
  #below = 0
  /** Nesting since the last `,` or `;`, by statements since the last `;`, and by open `<`. */
  #chain = 0
  #statements = 0
  #angles = 0
  #previous: Previous = 'start'
  #word = ''
  #newline = false
  #ended = false
  #control = false
  ambiguous = false

  constructor(text: string, limits: CapLimits, other: boolean) {
    this.#text = text
    this.#limits = limits
    this.#other = other
  }

  read(): Cap {
    if (this.#text.startsWith('#!')) this.#skipLine()
    while (this.#skipBlank()) {
      this.#tokens++
      this.#token()
      const weight = this.#below + this.#chain + this.#statements + this.#angles * NEST
      if (weight > this.#deepest) this.#deepest = weight
      if (this.#deepest > this.#limits.weightMax) {
        return over('depth', this.#deepest, this.#limits.weightMax)
      }
      if (this.#tokens > tokensMax) return over('tokens', this.#tokens, tokensMax)
    }
    return { kind: 'within', tokens: this.#tokens, weight: this.#deepest }
  }

  /** Skips white space and comments; false at the end of the text. */
  #skipBlank(): boolean {
    this.#newline = false
    for (; this.#at < this.#text.length;) {
      const unit = this.#text.charCodeAt(this.#at)
      if (isNewline(unit)) {
        this.#newline = true
        this.#at++
      } else if (isBlank(unit)) this.#at++
      else if (!this.#skipComment(unit)) return true
    }
    return false
  }

  #skipComment(unit: number): boolean {
    if (unit === 47 /* / */) {
      const next = this.#text.charCodeAt(this.#at + 1)
      if (next === 47) return this.#skipLine()
      if (next !== 42 /* * */) return false
      const end = this.#text.indexOf('*/', this.#at + 2)
      const stop = end < 0 ? this.#text.length : end + 2
      if (/[\n\r\u2028\u2029]/.test(this.#text.slice(this.#at, stop))) this.#newline = true
      this.#at = stop
      return true
    }
    const html =
      (unit === 60 && this.#text.startsWith('<!--', this.#at)) ||
      (unit === 45 &&
        (this.#newline || this.#previous === 'start') &&
        this.#text.startsWith('-->', this.#at))
    if (!html) return false
    this.ambiguous = true
    return this.#other ? false : this.#skipLine()
  }

  #skipLine(): true {
    while (this.#at < this.#text.length && !isNewline(this.#text.charCodeAt(this.#at))) this.#at++
    return true
  }

  #token(): void {
    const unit = this.#text.charCodeAt(this.#at)
    if (isWord(unit)) return this.#readWord(unit)
    if (unit === 34 || unit === 39) {
      this.#boundary('', true)
      this.#at = endOfString(this.#text, this.#at)
      return this.#operand()
    }
    if (unit === 96 /* ` */) {
      this.#boundary('', false)
      if (this.#previous === 'operand') this.#chain += LINK
      this.#at++
      return this.#template()
    }
    const mark = this.#text[this.#at]!
    if (mark === '/' && this.#slashIsRegex()) {
      this.#boundary('', true)
      this.#at = endOfRegex(this.#text, this.#at)
      return this.#operand()
    }
    this.#boundary(mark, false)
    this.#punctuator(mark)
  }

  #readWord(unit: number): void {
    const start = this.#at
    const number = unit >= 48 && unit <= 57
    this.#at = number ? endOfNumber(this.#text, start) : endOfWord(this.#text, start)
    const word = number ? '' : this.#text.slice(start, this.#at)
    const property = this.#previous === 'dot'
    if (!property) this.#boundary(word, true)
    if (number || property || word.length > 10) this.#operand()
    else this.#keyword(word)
    this.#word = property ? '' : word
  }

  #keyword(word: string): void {
    if (word === 'case' || word === 'default') this.#reset()
    else if (word === 'else') this.#statements += NEST
    else if (statementWords.has(word) && this.#word !== 'else') this.#statements += NEST
    else if (nestingWords.has(word)) this.#chain += NEST
    else if (infixWords.has(word)) this.#chain += LINK
    this.#control = controlWords.has(word) || (this.#control && word === 'await')
    this.#previous = contextualWords.has(word)
      ? 'contextual'
      : prefixWords.has(word)
        ? 'prefix'
        : 'operand'
  }

  #operand(): void {
    this.#previous = 'operand'
    this.#word = ''
    this.#control = false
  }

  /** Resets the nesting of the previous statement if this token can only start a new one. */
  #boundary(token: string, operand: boolean): void {
    const ended = this.#ended && !continuingWords.has(token)
    const brace = this.#previous === 'brace' && operand && !continuesBrace(token)
    const line = this.#newline && this.#previous === 'operand' && operand && !infixWords.has(token)
    if (ended || brace || line) this.#reset()
    this.#ended = false
  }

  #reset(): void {
    this.#chain = 0
    this.#statements = 0
    this.#angles = 0
  }

  #slashIsRegex(): boolean {
    if (this.#previous === 'operand' || this.#previous === 'dot') return false
    if (this.#previous === 'brace' || this.#previous === 'contextual') return this.#either()
    if (this.#previous === 'bang' && this.#limits.types) return this.#either()
    return true
  }

  #either(): boolean {
    this.ambiguous = true
    return this.#other
  }

  #punctuator(mark: string): void {
    if (mark === '(' || mark === '[' || mark === '{') return this.#open(mark)
    if (mark === ')' || mark === ']' || mark === '}') return this.#close(mark)
    this.#word = ''
    this.#control = false
    if (mark === ';') this.#ended = true
    else if (mark === ',') {
      if (this.#angles === 0) this.#chain = 0
    } else if (mark === '.') return this.#dots()
    else return this.#operator(mark)
    this.#at++
    this.#previous = 'operator'
  }

  #open(mark: string): void {
    if (this.#previous === 'operand' && mark !== '{') this.#chain += LINK
    this.#push(mark, mark === '(' && this.#control)
    this.#at++
  }

  #push(opener: string, control: boolean): void {
    this.#frames.push({
      opener,
      control,
      below: this.#below,
      chain: this.#chain,
      statements: this.#statements,
      angles: this.#angles,
    })
    this.#below += this.#chain + this.#statements + this.#angles * NEST + NEST
    this.#reset()
    this.#previous = 'start'
    this.#word = ''
    this.#control = false
  }

  #close(mark: string): void {
    const frame = this.#frames.pop()
    if (frame) {
      this.#below = frame.below
      this.#chain = frame.chain
      this.#statements = frame.statements
      this.#angles = frame.angles
    }
    this.#at++
    this.#word = ''
    this.#control = false
    this.#ended = false
    if (frame?.opener === '`') return this.#template()
    this.#previous = mark === '}' ? 'brace' : frame?.control ? 'prefix' : 'operand'
  }

  #template(): void {
    for (; this.#at < this.#text.length; this.#at++) {
      const unit = this.#text.charCodeAt(this.#at)
      if (unit === 92 /* \ */) this.#at++
      else if (unit === 96) {
        this.#at++
        return this.#operand()
      } else if (unit === 36 && this.#text.charCodeAt(this.#at + 1) === 123) {
        this.#push('`', false)
        this.#at += 2
        return
      }
    }
  }

  #dots(): void {
    const spread = this.#text.startsWith('...', this.#at)
    this.#at += spread ? 3 : 1
    if (!spread) this.#chain += LINK
    this.#previous = spread ? 'operator' : 'dot'
  }

  #operator(mark: string): void {
    const after = this.#previous === 'operand' || this.#previous === 'brace'
    const whole = operatorAt(this.#text, this.#at)
    this.#at += whole.length
    if (whole === '++' || whole === '--') {
      if (this.#isPostfix()) return
      this.#chain += NEST
      this.#previous = 'operator'
    } else if (whole === '?.') {
      this.#chain += LINK
      this.#previous = 'dot'
      return
    } else if (this.#limits.types && (mark === '<' || whole === '>')) {
      this.#angles = Math.max(0, this.#angles + (mark === '<' ? 1 : -1))
      this.#chain += after ? LINK : NEST
      this.#previous = 'operator'
    } else {
      this.#chain += nests(whole, after) ? NEST : LINK
      this.#previous = mark === '!' && after ? 'bang' : 'operator'
    }
  }

  #isPostfix(): boolean {
    if (this.#previous === 'brace') return this.#either()
    return this.#previous === 'operand' && !this.#newline
  }
}

function continuesBrace(token: string): boolean {
  return infixWords.has(token) || continuingWords.has(token)
}

/**
 * Operators that make a parser recurse: right-associative ones, `?`, `:`, arrows, prefix operators; the rest
 * are loops.
 */
function nests(operator: string, afterOperand: boolean): boolean {
  if (!afterOperand) return true
  return operator === '**' || operator === '?' || operator === ':' || /^[^=!<>]*=>?$/.test(operator)
}

const OPERATOR =
  /=>|\?\.(?!\d)|\?\?=?|\*\*=?|&&=?|\|\|=?|\+\+|--|[=!]==?|<<=?|<=|[-+*/%&|^]=|>(?:>?>?=)|[^]/y

/** Splits `>` off as a token of its own, because it may close type arguments. */
function operatorAt(text: string, at: number): string {
  OPERATOR.lastIndex = at
  return OPERATOR.exec(text)![0]
}

function isNewline(unit: number): boolean {
  return unit === 10 || unit === 13 || unit === 0x2028 || unit === 0x2029
}

function isBlank(unit: number): boolean {
  if (unit <= 32) return true
  return unit >= 0xa0 && /[\s\u180e\u200b\ufeff]/.test(String.fromCharCode(unit))
}

/** Letters, digits, `$`, `_`, `#`, `@`, a backslash (of an escape), and all non-ASCII characters but spaces. */
function isWord(unit: number): boolean {
  if (unit >= 128) return !isNewline(unit) && !isBlank(unit)
  return (
    (unit >= 97 && unit <= 122) ||
    (unit >= 64 && unit <= 90) ||
    (unit >= 48 && unit <= 57) ||
    unit === 36 ||
    unit === 95 ||
    unit === 35 ||
    unit === 92
  )
}

function endOfWord(text: string, from: number): number {
  let at = from
  for (; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    if (unit === 92 && text.startsWith('\\u{', at)) {
      const end = text.indexOf('}', at)
      if (end < 0 || end - at > 12) return at + 1
      at = end
    } else if (!isWord(unit) || (at > from && (unit === 64 || unit === 35))) return at
  }
  return at
}

function endOfNumber(text: string, from: number): number {
  let at = from
  while (at < text.length && (text.charCodeAt(at) === 46 || isWord(text.charCodeAt(at)))) at++
  return at
}

/** End of a string or regex, at the end of the line at the latest; a backslash escapes the next unit. */
function endOfString(text: string, from: number): number {
  const quote = text.charCodeAt(from)
  for (let at = from + 1; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    if (unit === 92) at += text.startsWith('\r\n', at + 1) ? 2 : 1
    else if (unit === quote) return at + 1
    else if (unit === 10 || unit === 13) return at
  }
  return text.length
}

function endOfRegex(text: string, from: number): number {
  let inClass = false
  for (let at = from + 1; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    if (isNewline(unit)) return at
    if (unit === 92) at++
    else if (unit === 91) inClass = true
    else if (unit === 93) inClass = false
    else if (unit === 47 && !inClass) return at + 1
  }
  return text.length
}
