import type { OutcomeError } from '../contract/outcome.ts'
import type { TaskEnd } from '../contract/provider.ts'

/** Length of each text of an error, in UTF-16 units. Most of them are the guest's words. */
const unitsMax = { code: 64, name: 200, message: 8192, stack: 16_384, details: 4096 }

/** The error of an end that was not `ok`, cut to its bounds and well-formed; made up from the status where there is none. */
export function boundError({
  status,
  error,
}: { readonly status: string } & Pick<TaskEnd, 'error'>): OutcomeError {
  const { name, stack, details } = error ?? {}
  return {
    code: bound(error?.code ?? status.toUpperCase(), unitsMax.code),
    ...(name !== undefined && { name: bound(name, unitsMax.name) }),
    message: bound(error?.message ?? `The job ended as "${status}"`, unitsMax.message),
    ...(stack !== undefined && { stack: bound(stack, unitsMax.stack) }),
    ...(isSmall(details) && { details }),
  }
}

function bound(text: string, units: number): string {
  return text.slice(0, units).toWellFormed()
}

/** Details are facts, not cargo: too many of them, or what is no data, is left out. */
function isSmall(details: unknown): boolean {
  if (details === undefined) return false
  try {
    return JSON.stringify(details).length <= unitsMax.details
  } catch {
    return false
  }
}
