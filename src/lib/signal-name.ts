import { constants } from 'node:os'

/** Name of a signal, such as "SIGKILL"; undefined for a number that no signal of this system has. */
export function signalName(number: number): string | undefined {
  return Object.entries(constants.signals).find(([, one]) => one === number)?.[0]
}

const SIGNAL_CODES_FROM = 128

/** Exit code of a shell for a child that this signal killed; 128 for a name that no signal of this system has. */
export function codeOfSignal(name: string): number {
  return SIGNAL_CODES_FROM + (constants.signals[name as NodeJS.Signals] ?? 0)
}

/** Signal that an exit code stands for: a shell exits with 128 plus the number of the signal that killed its child. */
export function signalOfCode(code: number): string | null {
  return signalName(code - SIGNAL_CODES_FROM) ?? null
}
