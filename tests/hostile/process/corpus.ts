import type { ProcessCase, ProcessFamily } from './case.ts'
import { artifacts } from './cases/artifacts.ts'
import { cpu } from './cases/cpu.ts'
import { descriptors } from './cases/descriptors.ts'
import { disk } from './cases/disk.ts'
import { files } from './cases/files.ts'
import { forks } from './cases/forks.ts'
import { kernel } from './cases/kernel.ts'
import { leftovers } from './cases/leftovers.ts'
import { memory } from './cases/memory.ts'
import { namespaces } from './cases/namespaces.ts'
import { output } from './cases/output.ts'
import { privilege } from './cases/privilege.ts'
import { proc } from './cases/proc.ts'
import { result } from './cases/result.ts'
import { runner } from './cases/runner.ts'
import { shadowing } from './cases/shadowing.ts'
import { signals } from './cases/signals.ts'
import { sockets } from './cases/sockets.ts'
import { tracing } from './cases/tracing.ts'

/** Every case, family by family. */
export const processCorpus: Readonly<Record<ProcessFamily, readonly ProcessCase[]>> = {
  forks,
  memory,
  disk,
  descriptors,
  cpu,
  proc,
  tracing,
  kernel,
  namespaces,
  sockets,
  privilege,
  signals,
  output,
  artifacts,
  files,
  leftovers,
  result,
  shadowing,
  runner,
}

export const processCases: readonly ProcessCase[] = Object.values(processCorpus).flat()
