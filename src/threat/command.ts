import type { Job } from '../contract/job.ts'
import type { Analysis } from '../contract/verdict.ts'
import { sha256 } from '../lib/hash.ts'
import { branchesOf } from './script.ts'
import { analysisOf } from './verdict.ts'

/**
 * Analysis of a command line, in this process: it is judged as a shell script of one line, in which nothing is parsed and no
 * pattern is looked for. What the command loads is no part of the job.
 */
export function analyseCommand({ asked: { code } }: Job): Analysis {
  const inspection = {
    language: 'sh',
    entry: 'program',
    found: [],
    complexityScore: branchesOf(code),
    behaviorScore: 0,
  } as const
  return analysisOf(inspection, `sha256:${sha256(JSON.stringify(['command', code]))}`)
}
