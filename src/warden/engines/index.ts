import type { EngineName, OpenEngine } from '../../contract/engine.ts'
import type { ProgramName } from '../../contract/warden.ts'
import { openProcesses } from './processes/engine.ts'
import { openRunsc } from './runsc/engine.ts'

/** An engine, the programs that it starts, and the ways by which a request may ask for it. */
interface EngineRow {
  readonly open: OpenEngine
  readonly programs: readonly ProgramName[]
  readonly ways: readonly string[]
}

/** The engines of this warden, a row each. */
export const engines: Readonly<Record<EngineName, EngineRow>> = {
  processes: {
    open: openProcesses,
    programs: ['isolated-vm', 'wasi', 'analyst', 'node', 'python'],
    ways: ['any', 'embedded', 'bubblewrap'],
  },
  runsc: { open: openRunsc, programs: ['node', 'python'], ways: ['gvisor'] },
}

/** The engine that starts this program in this way; undefined where there is none. */
export function engineFor(program: ProgramName, way: string): EngineName | undefined {
  const found = Object.entries(engines).find(
    ([, { programs, ways }]) => programs.includes(program) && ways.includes(way),
  )
  return found?.[0]
}
