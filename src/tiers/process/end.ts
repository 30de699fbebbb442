import type { TaskEnd } from '../../contract/provider.ts'
import type { HandleEnd } from '../../walls/handle.ts'
import { lostEnd } from '../../walls/ends.ts'

/**
 * The end of a program whose process is gone and said nothing: it left by a raw exit, became another program, or was
 * killed by a signal that nobody here sent. Undefined when somebody here, or the kernel at a limit, ended it.
 */
export function endOfProgram({ how, exit, peakBytes }: HandleEnd): TaskEnd | undefined {
  if (how !== 'exit' || !exit) return undefined
  const { signal, exitCode } = exit
  if (signal !== null) return { ...broken(`was ended by ${signal}`, peakBytes), signal }
  if (exitCode !== 0) return { ...broken(`exited with ${exitCode}`, peakBytes), ...coded(exitCode) }
  return {
    status: 'ok',
    resultText: 'null',
    encoding: 'json',
    exitCode: 0,
    cpuTime: exit.cpuMs ?? 0,
    artifacts: [],
  }
}

function coded(exitCode: number | null): Pick<TaskEnd, 'exitCode'> {
  return exitCode === null ? {} : { exitCode }
}

function broken(what: string, peakBytes: number): TaskEnd {
  return lostEnd('error', 'EXIT', `The program ${what}`, peakBytes)
}
