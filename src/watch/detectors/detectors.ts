import { beaconing } from './beaconing.ts'
import { cpuShape } from './cpu-shape.ts'
import { deniedBurst } from './denied-burst.ts'
import { type Running, running } from './detector.ts'
import { execOfWritten } from './exec-of-written.ts'
import { forkStorm } from './fork-storm.ts'
import { lateActivity } from './late-activity.ts'
import { memoryShape } from './memory-shape.ts'
import { offBaseline } from './off-baseline.ts'
import { outputGrowth } from './output-growth.ts'
import { sensitiveData } from './sensitive-data.ts'
import { unexpectedSyscall } from './unexpected-syscall.ts'
import { unforeseenAccess } from './unforeseen-access.ts'

/** Every detector at its beginning. None knows of another. */
export const detectors: readonly Running[] = [
  running(unexpectedSyscall),
  running(sensitiveData),
  running(unforeseenAccess),
  running(deniedBurst),
  running(memoryShape),
  running(cpuShape),
  running(beaconing),
  running(forkStorm),
  running(execOfWritten),
  running(lateActivity),
  running(outputGrowth),
  running(offBaseline),
]
