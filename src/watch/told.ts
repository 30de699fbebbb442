import type { TaskEnd } from '../contract/provider.ts'
import { parseJson } from '../lib/parse-json.ts'

/**
 * JSON text that a guest wrote, as it stands and as whoever reads it will have it: an escape stands for the character
 * that it means, and nothing in ASCII is left escaped but what must be. Twice the text at most.
 */
export function saidIn(jsonText: string): string {
  if (!jsonText.includes('\\')) return jsonText
  try {
    return `${jsonText}\n${JSON.stringify(parseJson(jsonText))}`
  } catch {
    // No reader has anything of it.
    return jsonText
  }
}

/** Everything of an end that a guest wrote, but for the bytes of its files. */
export function saidOf({ resultText, error, artifacts, leftOut, display }: Said): string {
  const files = [...(artifacts ?? []), ...(leftOut ?? [])].map(({ path }) => path)
  const shown = (display ?? []).flatMap(({ type, text }) => [type, text])
  const thrown = error ? [error.name, error.message, error.stack, detailsOf(error)] : []
  return [saidIn(resultText), ...thrown, ...files, ...shown].join('\n')
}

type Said = Pick<TaskEnd, 'resultText' | 'error' | 'leftOut' | 'display'> &
  Partial<Pick<TaskEnd, 'artifacts'>>

function detailsOf({ details }: NonNullable<TaskEnd['error']>): string {
  return details === undefined ? '' : saidIn(JSON.stringify(details))
}
