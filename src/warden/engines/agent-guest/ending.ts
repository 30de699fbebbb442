import os from 'node:os'
import type { AgentMessageOf } from '../../../agent-wire/decode.ts'

/** End of a runner as its guest reported it: untrusted. */
export interface RunnerEnd {
  readonly exitCode: number | null
  readonly signal: string | null
  readonly detail: string
}

/** The carrier exits with the code of its runner, or with 128 plus the number of its signal, as a shell does. */
const SIGNAL_CODES_FROM = 128

export function runnerEnd({ end }: Pick<AgentMessageOf<'exited'>, 'end'>): RunnerEnd {
  const code = 'exitCode' in end ? end.exitCode : SIGNAL_CODES_FROM + end.signal
  const signal = signalOf(code)
  return { exitCode: signal === null ? code : null, signal, detail: `exit ${signal ?? code}` }
}

function signalOf(code: number): string | null {
  const number = code - SIGNAL_CODES_FROM
  return Object.entries(os.constants.signals).find(([, one]) => one === number)?.[0] ?? null
}
