import { nodeProgram, pythonProgram } from '../process/launch.ts'
import type { WholeProgram } from '../../jail/whole.ts'

/** Settings that a server may choose; everything else about the program is decided here. */
export interface GuestSettings {
  /** Bytes of each scratch folder. */
  readonly scratchBytes: number
  /** Runs a dummy job before it says that it is ready. */
  readonly isWarm: boolean
}

export interface Guest {
  readonly main: string
  readonly whole: WholeProgram
}

/** A parked Node that runs one job: of language `node`, or a shell script. The runner is that of the process tier. */
export function nodeGuest(settings: GuestSettings): Guest {
  return guestOf(nodeProgram({ ...settings, hasThreads: true }))
}

/** A parked Python. */
export function pythonGuest(settings: GuestSettings): Guest {
  return guestOf(pythonProgram(settings))
}

function guestOf({ main, whole }: ReturnType<typeof nodeProgram>): Guest {
  if (!whole) throw new Error('a guest is a whole program')
  return { main, whole }
}
