import type { SessionCase, SessionFamily } from './case.ts'
import { after } from './cases/after.ts'
import { answers } from './cases/answers.ts'
import { frames } from './cases/frames.ts'
import { ground } from './cases/ground.ts'
import { interpreter } from './cases/interpreter.ts'
import { rights } from './cases/rights.ts'
import { signals } from './cases/signals.ts'
import { streams } from './cases/streams.ts'

/** Every case, family by family. */
export const sessionCorpus: Readonly<Record<SessionFamily, readonly SessionCase[]>> = {
  after,
  interpreter,
  frames,
  streams,
  signals,
  ground,
  rights,
  answers,
}

export const sessionCases: readonly SessionCase[] = Object.values(sessionCorpus).flat()
