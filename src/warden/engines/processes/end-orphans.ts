import { endOrphans } from './orphans.ts'

/** Program that an application runs after its warden was killed: kills children of launchers that have no lease. */
endOrphans()
