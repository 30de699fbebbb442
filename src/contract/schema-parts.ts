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
  /** The target of a link is text. */
  readonly type?: 'file' | 'folder' | 'link'
}

/**
 * Check of a content: refuses what is declared as base64 and is none, and gives base64 its usual spelling, which the decoder of each wall
 * reads. One pass, since a content may have megabytes. `path`: place of the issue, below the checked value.
 */
export function inUsualBase64<T extends Encoded>(path: string[] = []): z.core.CheckFn<T> {
  return (payload) => {
    const { value } = payload
    if (value.encoding === 'utf8' || value.type === 'link') return
    const content = usualBase64(value.content)
    if (content === undefined)
      payload.issues.push({ code: 'custom', message: 'expected base64', input: value, path })
    else if (content !== value.content) payload.value = { ...value, content }
  }
}
