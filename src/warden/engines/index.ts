import type { EngineName, OpenEngine } from '../../contract/engine.ts'
import type { ProgramName } from '../../contract/warden.ts'
import { openProcesses } from './processes/engine.ts'

/** The engines of this warden, a row each. */
export const engines: Readonly<Record<EngineName, OpenEngine>> = {
  processes: openProcesses,
}

/** The engine that starts each program. */
export const engineOf: Readonly<Record<ProgramName, EngineName>> = {
  'isolated-vm': 'processes',
  wasi: 'processes',
  analyst: 'processes',
  node: 'processes',
  python: 'processes',
}
