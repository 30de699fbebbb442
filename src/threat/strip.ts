import { stripTypeScriptTypes } from 'node:module'
import { parseSync, visitorKeys } from 'oxc-parser'
import { MODULE_WORD } from './guess.ts'
import type { Node } from './syntax.ts'

export type Stripped =
  | { readonly kind: 'stripped'; readonly javascript: string }
  | { readonly kind: 'error'; readonly message: string; readonly offset: number }

/**
 * TypeScript without its types, every position kept. What cannot be erased (enums, namespaces, parameter
 * properties …) is an error at its place. Throws when the stripper itself broke: it stays broken, so the process
 * that holds it must end.
 */
export function strip(source: string): Stripped {
  const order = MODULE_WORD.test(source) ? [BARE, BODY, EXPRESSION] : [BODY, EXPRESSION]
  let message: string | undefined
  for (const { before, after } of order) {
    const attempt = tryStrip(before + source + after)
    if ('text' in attempt)
      return {
        kind: 'stripped',
        javascript: attempt.text.slice(before.length, before.length + source.length),
      }
    message ??= attempt.message
  }
  return errorOf(source, order[0]!, message ?? 'Unexpected token')
}

interface Frame {
  readonly before: string
  readonly after: string
}

const BARE: Frame = { before: '', after: '' }
const BODY: Frame = { before: 'async function f() {', after: '\n}' }
const EXPRESSION: Frame = { before: '0,', after: '\n' }

function tryStrip(text: string): { text: string } | { message: string } {
  try {
    return { text: stripTypeScriptTypes(text) }
  } catch (thrown) {
    const { code, message } = thrown as { code?: string; message: string }
    if (code === 'ERR_INVALID_TYPESCRIPT_SYNTAX' || code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX') {
      return { message }
    }
    throw thrown
  }
}

/** The stripper names no place; the parser does, or the tree has what cannot be erased. */
function errorOf(source: string, { before, after }: Frame, message: string): Stripped {
  const result = parseSync('source.ts', before + source + after, {
    lang: 'ts',
    sourceType: 'module',
  })
  const error = result.errors.find(({ severity }) => (severity as string) === 'Error')
  const start = error
    ? (error.labels[0]?.start ?? 0)
    : unerasable(result.program as unknown as Node)
  const offset = Math.min(Math.max(0, start - before.length), source.length)
  return { kind: 'error', message: (error?.message ?? message).slice(0, 500), offset }
}

const kinds = new Set([
  'TSEnumDeclaration',
  'TSExportAssignment',
  'TSImportEqualsDeclaration',
  'TSModuleDeclaration',
  'TSParameterProperty',
  'TSTypeAssertion',
])

function unerasable(program: Node): number {
  const stack: unknown[] = [program]
  for (let item = stack.pop(); item; item = stack.pop()) {
    if (Array.isArray(item)) stack.push(...item.filter(Boolean).toReversed())
    else {
      const node = item as Node
      if (kinds.has(node.type) && node['declare'] !== true) return node.start
      for (const key of (visitorKeys[node.type] ?? []).toReversed()) {
        if (node[key]) stack.push(node[key])
      }
    }
  }
  return 0
}
