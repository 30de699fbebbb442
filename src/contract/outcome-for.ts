import type { Outcome } from './outcome.ts'
import { reworded, rewordedText, type EntryPoint, type Remedy } from './remedy.ts'

/** Remedies that a warning names. */
const entryRemedies: readonly Remedy[] = [
  { field: 'entry', value: 'handler' },
  { field: 'entry', value: 'module' },
  { field: 'limits.result' },
]

/** The outcome in the words of an entry point: its error and its warnings. */
export function outcomeFor(entry: EntryPoint, outcome: Outcome): Outcome {
  const { error, warnings } = outcome
  return {
    ...outcome,
    ...(error && { error: reworded(entry, error) }),
    ...(warnings && {
      warnings: warnings.map((text) => rewordedText(entry, text, entryRemedies)),
    }),
  }
}
