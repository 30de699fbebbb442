import { errorCodes, MayflyError, type ErrorCode } from '../../contract/error.ts'
import { present } from '../../lib/present.ts'

/** Serialised error: its class by name, and its parts. */
export interface ErrorFacts {
  readonly className: string
  readonly name: string
  readonly message: string
  readonly stack?: string | undefined
  readonly code?: unknown
  readonly hint?: string | undefined
  readonly details?: unknown
  readonly detail?: string | undefined
  readonly retryAfterMs?: number | undefined
  readonly cause?: unknown
}

const classes: Readonly<Record<string, new (message: string) => Error>> = {
  Error,
  TypeError,
  RangeError,
  SyntaxError,
  ReferenceError,
}

export function errorFactsOf(error: Error): ErrorFacts {
  const { name, message, stack, cause } = error
  const { code } = error as { readonly code?: unknown }
  const shared = { name, message, stack, ...present({ cause }) }
  if (error instanceof MayflyError) {
    const { hint, details, detail, retryAfterMs } = error
    return { ...shared, className: 'MayflyError', code, hint, details, detail, retryAfterMs }
  }
  if (error instanceof DOMException) return { ...shared, className: 'DOMException' }
  const className = Object.hasOwn(classes, error.constructor.name)
    ? error.constructor.name
    : 'Error'
  return { ...shared, className, ...present({ code }) }
}

/** Makes an error of the same class, with the stack of the other side. */
export function errorOf(facts: ErrorFacts): Error {
  const error = make(facts)
  if (facts.stack !== undefined) error.stack = facts.stack
  return error
}

function make({ className, name, message, code, hint, ...facts }: ErrorFacts): Error {
  const { details, detail, retryAfterMs, cause } = facts
  if (className === 'DOMException') return new DOMException(message, name)
  if (className === 'MayflyError' && Object.hasOwn(errorCodes, String(code)))
    return new MayflyError(code as ErrorCode, message, {
      details,
      cause,
      ...present({ hint, detail, retryAfterMs }),
    })
  const error = new (classes[className] ?? Error)(message)
  return Object.assign(error, name === error.name ? {} : { name }, present({ code, cause }))
}
