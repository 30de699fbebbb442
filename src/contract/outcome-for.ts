import type { Outcome } from './outcome.ts'
import { reworded, rewordedText, type EntryPoint } from './remedy.ts'
import { entryRemedies } from './unread-input.ts'

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
