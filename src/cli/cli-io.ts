import { terminalJson } from './print.ts'

/** Process environment of a verb, replaceable in tests. */
export interface CliIo {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  readonly stdout: (text: string) => void
  readonly stderr: (text: string) => void
  readonly exit: (code: number) => void
}

/** Prints the single document of `--json`. */
export function printDocument(world: CliIo, document: unknown): void {
  world.stdout(`${terminalJson(document, 2)}\n`)
}
