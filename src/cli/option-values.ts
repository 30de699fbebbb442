import { InvalidArgumentError } from 'commander'
import { MayflyError } from '../contract/error.ts'
import type { Language } from '../contract/job.ts'
import { aliases, canonicalLanguage, languageWords } from '../contract/language-words.ts'

/** Parser of an option that takes a whole number from 1 on. */
export function wholeNumber(most: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (Number.isInteger(value) && value >= 1 && value <= most) return value
    throw new InvalidArgumentError(`expected a whole number from 1 to ${most}`)
  }
}

/** Parser of `--language`, which also takes the usual names, in any case. Throws MayflyError USAGE. */
export function parseLanguage(text: string): Language {
  const language = canonicalLanguage(text)
  if (language) return language
  throw new MayflyError(
    'USAGE',
    `Cannot use language "${text}": expected one of ${languageWords.join(', ')}`,
    { hint: `Usual names are read too: ${Object.keys(aliases).join(', ')}` },
  )
}

/** Parser of an option that takes one of `words`. Throws MayflyError USAGE. */
export function parseWord<T extends string>(what: string, words: readonly T[]) {
  return (text: string): T => {
    if ((words as readonly string[]).includes(text)) return text as T
    throw new MayflyError(
      'USAGE',
      `Cannot use ${what} "${text}": expected one of ${words.join(', ')}`,
    )
  }
}
