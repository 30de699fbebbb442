import { stripTypeScriptTypes } from 'node:module'
import { MODULE_WORD } from './guess.ts'

/**
 * TypeScript without its types, every position kept; undefined where there is more to it than types (enums,
 * namespaces, parameter properties …), or where it does not parse. Throws when the stripper itself broke: it stays
 * broken, so the process that holds it must end.
 */
export function strip(source: string): string | undefined {
  const order = MODULE_WORD.test(source) ? [BARE, BODY, EXPRESSION] : [BODY, EXPRESSION]
  for (const { before, after } of order) {
    const text = tryStrip(before + source + after)
    if (text !== undefined) return text.slice(before.length, before.length + source.length)
  }
  return undefined
}

interface Frame {
  readonly before: string
  readonly after: string
}

const BARE: Frame = { before: '', after: '' }
const BODY: Frame = { before: 'async function f() {', after: '\n}' }
const EXPRESSION: Frame = { before: '0,', after: '\n' }

function tryStrip(text: string): string | undefined {
  try {
    return stripTypeScriptTypes(text)
  } catch (thrown) {
    const { code } = thrown as { code?: string }
    if (code === 'ERR_INVALID_TYPESCRIPT_SYNTAX' || code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX')
      return undefined
    throw thrown
  }
}
