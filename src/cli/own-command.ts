import { fileURLToPath } from 'node:url'

/** Path of the program of this command line. */
export const ownProgram = fileURLToPath(new URL('../../bin/mayfly.js', import.meta.url))

/** Command that runs `mayfly WORDS` with the same Node and checkout. */
export function ownCommand(words: readonly string[]): readonly string[] {
  return [process.execPath, ownProgram, ...words]
}
