import { stripTypeScriptTypes } from 'node:module'
import { MODULE_WORD } from './guess.ts'

/**
 * Strips types, positions kept; undefined for types that are not erasable (enums, namespaces, parameter
 * properties …) and for syntax errors. Throws when the stripper itself crashed: it stays broken, so its process
 * must end.
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
