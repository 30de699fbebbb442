import type { TaskEnd } from '../contract/provider.ts'
import { parseJson } from '../lib/parse-json.ts'

/**
 * Guest JSON in raw and decoded form, so that escapes cannot hide a token from the scanner. At most twice the length.
 */
export function withDecodedJson(jsonText: string): string {
  if (!jsonText.includes('\\')) return jsonText
  try {
    return `${jsonText}\n${JSON.stringify(parseJson(jsonText))}`
  } catch {
    // Not valid JSON: no decoded form.
    return jsonText
  }
}

/** All guest text of an end, except file contents. */
export function guestTextOf({
  resultText,
  error,
  artifacts,
  leftOut,
  display,
}: GuestTextSource): string {
  const files = [...(artifacts ?? []), ...(leftOut ?? [])].map(({ path }) => path)
  const shown = (display ?? []).flatMap(({ type, text }) => [type, text])
  const thrown = error ? [error.name, error.message, error.stack, detailsOf(error)] : []
  return [withDecodedJson(resultText), ...thrown, ...files, ...shown].join('\n')
}

type GuestTextSource = Pick<TaskEnd, 'resultText' | 'error' | 'leftOut' | 'display'> &
  Partial<Pick<TaskEnd, 'artifacts'>>

function detailsOf({ details }: NonNullable<TaskEnd['error']>): string {
  return details === undefined ? '' : withDecodedJson(JSON.stringify(details))
}
