import type { ProvedProvider } from '../contract/provider.ts'
import { paint, table } from './print.ts'

/** Formats one line per wall: available, strength, layers; then what this machine lacks. */
export function wallsText(
  proved: readonly ProvedProvider[],
  stream: NodeJS.WriteStream = process.stderr,
): string {
  if (proved.length === 0) return 'No providers'
  const lines = table(proved.map(rowOf)).split('\n')
  return proved
    .flatMap((one, index) => [
      marked(lines[index]!, one, stream),
      ...moreOf(one).map((text) => paint('dim', `     ${text}`, stream)),
    ])
    .join('\n')
}

function rowOf({ provider, availability }: ProvedProvider): readonly string[] {
  const { name, tier } = provider
  if (!availability.available) return ['✗', name, tier, '', availability.reason]
  const held = availability.layers.join(', ')
  const none = tier === 'mock' ? 'runs no code: for tests' : 'no named layers'
  return ['✓', name, tier, `strength ${availability.strength}`, held || none]
}

function marked(line: string, { availability }: ProvedProvider, stream: NodeJS.WriteStream) {
  return paint(availability.available ? 'green' : 'red', line.slice(0, 1), stream) + line.slice(1)
}

function moreOf({ availability }: ProvedProvider): readonly string[] {
  if (!availability.available) return [availability.fix]
  return availability.missing.map((text) => `without ${text}`)
}
