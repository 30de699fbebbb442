import * as z from 'zod'
import { aliases, canonicalLanguage, type languageWords, type UsualName } from './language-words.ts'

/** Schema of some of the languages, which also takes their usual names, in any case. */
export function languageAmong<T extends (typeof languageWords)[number]>(known: readonly T[]) {
  const isKnown = (word = ''): boolean => (known as readonly string[]).includes(word)
  const usual = Object.entries(aliases).flatMap(([word, means]) => (isKnown(means) ? [word] : []))
  const words = [...known, ...usual]
  const schema = z.preprocess(
    (given) => (typeof given === 'string' ? given.trim().toLowerCase() : given),
    z
      .enum(words, {
        error: ({ input }) =>
          input === undefined ? undefined : `expected one of ${words.join(', ')}`,
      })
      .transform((word) => canonicalLanguage(word) as string)
      .pipe(z.enum(known as readonly string[])),
  )
  return schema as unknown as z.ZodType<T, T | UsualName>
}
