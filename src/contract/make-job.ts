import type { Clock } from './clock.ts'
import { MayflyError } from './error.ts'
import type { Job } from './job.ts'
import { languageOfName, unknownLanguage } from './language-words.ts'
import { languageOfShebang } from './shebang.ts'
import { newId } from '../lib/id.ts'

/** Adds an id, the owner and the time of acceptance to a validated request. */
export function makeJob<Owner extends object>(
  asked: Job['asked'],
  owner: Owner,
  clock: Clock,
): Pick<Job, 'id' | 'at' | 'asked'> & Owner {
  const told = withNamedLanguage(asked)
  return { id: newId('exec', clock.date()), ...owner, at: clock.now(), asked: told }
}

/**
 * The request with the language that its file name tells. Throws MayflyError INVALID for a name of no language: code of
 * another one is never guessed to be JavaScript.
 */
function withNamedLanguage<T extends Job['asked']>(asked: T): T {
  const { code, language, name } = asked
  if (language !== undefined || name === undefined || languageOfShebang(code)) return asked
  const named = languageOfName(name)
  if (named.kind === 'known') return { ...asked, language: named.language }
  if (named.kind !== 'unknown') return asked
  const { why, hint } = unknownLanguage(name, named, byField)
  const message = `Cannot tell the language of "${name}": ${why}`
  const details = [{ path: 'language', message: `missing: ${why}` }]
  throw new MayflyError('INVALID', message, { hint, details })
}

const byField = {
  by: '"language"',
  run: (script: string) =>
    `A job of language "bash" that has it among its files runs it where its root has the tool: ${script}`,
}

/** Longest input as JSON, of all calls of a batch together. */
const inputCharsMax = 32 * 2 ** 20

/** Throws MayflyError TOO_LARGE for an input of so many characters. */
export function assertInputFits(chars: number): void {
  if (chars <= inputCharsMax) return
  const bound = `${chars} characters as JSON, of at most ${inputCharsMax}`
  throw new MayflyError('TOO_LARGE', `Cannot take the input: it has ${bound}`, {
    hint: 'Give it as a file',
  })
}
