import { endOrphans } from './orphans.ts'

/** Program that an application runs after its warden was killed: it ends children of launchers that no lease names. */
endOrphans()
