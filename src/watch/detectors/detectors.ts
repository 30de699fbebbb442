import { beaconing } from './beaconing.ts'
import { cpuShape } from './cpu-shape.ts'
import { deniedBurst } from './denied-burst.ts'
import { type RunningDetector, startDetector } from './detector.ts'
import { execOfWritten } from './exec-of-written.ts'
import { forkStorm } from './fork-storm.ts'
import { lateActivity } from './late-activity.ts'
import { memoryShape } from './memory-shape.ts'
import { offBaseline } from './off-baseline.ts'
import { outputGrowth } from './output-growth.ts'
import { sensitiveData } from './sensitive-data.ts'
import { unexpectedSyscall } from './unexpected-syscall.ts'
import { unforeseenAccess } from './unforeseen-access.ts'

/** All detectors in their initial state; they are independent of each other. */
export const detectors: readonly RunningDetector[] = [
  startDetector(unexpectedSyscall),
  startDetector(sensitiveData),
  startDetector(unforeseenAccess),
  startDetector(deniedBurst),
  startDetector(memoryShape),
  startDetector(cpuShape),
  startDetector(beaconing),
  startDetector(forkStorm),
  startDetector(execOfWritten),
  startDetector(lateActivity),
  startDetector(outputGrowth),
  startDetector(offBaseline),
]
