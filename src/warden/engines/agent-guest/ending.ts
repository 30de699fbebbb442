import type { AgentMessageOf } from '../../../agent-wire/decode.ts'
import { signalOfCode } from '../../../lib/signal-name.ts'

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
  const signal = signalOfCode(code)
  return { exitCode: signal === null ? code : null, signal, detail: `exit ${signal ?? code}` }
}
