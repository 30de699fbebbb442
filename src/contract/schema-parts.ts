import * as z from 'zod'
import { usualBase64 } from '../lib/usual-base64.ts'

export function whole(least: number, most: number) {
  const range = most === Number.MAX_SAFE_INTEGER ? `${least} on` : `${least} to ${most}`
  const words = saying(`expected a whole number from ${range}`)
  return z.number(words).int(words).min(least, words).max(most, words)
}

/** A number within bounds, in a unit such as cores. */
export function boundedNumber(least: number, most: number, unit: string) {
  const words = saying(`expected a number of ${unit} from ${least} to ${most}`)
  return z.number(words).min(least, words).max(most, words)
}

/** Message of every invalid value; a missing one has zod's own. */
const saying = (text: string) => ({
  error: ({ input }: { readonly input?: unknown }) => (input === undefined ? undefined : text),
  abort: true,
})

/** A non-empty string. */
export const filled = (charactersMax: number) => z.string().min(1).max(charactersMax)

/** A boolean, false by default. */
export const flag = z.boolean().default(false)

interface Encoded {
  readonly content: string
  readonly encoding: 'utf8' | 'base64'
}

/** Refuses a content that is declared as base64 and is none. */
export function hasItsEncoding({ content, encoding }: Encoded): boolean {
  return encoding === 'utf8' || usualBase64(content) !== undefined
}

/** A content in base64 gets the usual spelling of it, which the decoder of each wall reads. */
export function withUsualBase64<T extends Encoded>(given: T): T {
  if (given.encoding === 'utf8') return given
  const content = usualBase64(given.content)
  return content === undefined || content === given.content ? given : { ...given, content }
}
