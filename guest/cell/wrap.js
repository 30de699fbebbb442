import { Refusal } from './failure.js'

/**
 * The realm's `job` takes the user's function and is gone before any of it runs. What stands before the
 * source stays on its first line, in columns below one, so that positions are those of the source.
 */
export const WRAPPERS = {
  body: ['job(async function () {', '\n})', (async () => undefined).constructor],
  function: ['job=', '\n'],
  handler: ['job(function (exports, require, module) {', '\n})', Function],
}

/**
 * A source could close its wrapper and go on outside of it; then it is no function body by itself. One
 * without a closing brace closes nothing. It is only parsed here, never called.
 */
export function assertClosed(Body, code) {
  if (!code.includes('}')) return
  try {
    Reflect.construct(Body, [code])
  } catch {
    const message = 'The source closes the function that it is the body of'
    throw new Refusal({ code: 'SYNTAX_ERROR', name: 'SyntaxError', message })
  }
}

/** Around a CommonJS file. */
export const COMMONJS = ['(function (exports, require, module, __filename, __dirname) {', '\n})']
/** What V8 says of a text that is a module and no script. */
export const MODULE_ONLY =
  /Unexpected token 'export'|Cannot use import statement outside a module|Cannot use 'import.meta'|await is only valid/
