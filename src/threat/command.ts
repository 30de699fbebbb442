import type { Job } from '../contract/job.ts'
import type { Analysis } from '../contract/verdict.ts'
import { sha256 } from '../lib/hash.ts'
import { branchesOf } from './script.ts'
import { analysisOf } from './verdict.ts'

/**
 * Analyses a command line in this process: it counts as a shell script of one line, without parsing or pattern
 * matching. Files that the command loads are not part of the job.
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
