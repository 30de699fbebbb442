import { Refusal } from './failure.js'

/**
 * The realm's `job` takes the user's function and is removed before any of it runs. The wrapper stays on the
 * first line, in columns below one, so that positions are those of the source.
 */
export const WRAPPERS = {
  body: ['job(async function () {', '\n})', (async () => undefined).constructor],
  function: ['job=', '\n'],
  handler: ['job(function (exports, require, module) {', '\n})', Function],
}

/**
 * Rejects source that closes its wrapper and continues outside: it is then no function body by itself. Source
 * without a closing brace cannot. Parsed here, never called.
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
/** V8's errors for a module parsed as a script. */
export const MODULE_ONLY =
  /Unexpected token 'export'|Cannot use import statement outside a module|Cannot use 'import.meta'|await is only valid/
