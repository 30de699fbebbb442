import { existsSync } from 'node:fs'
import { messageOf } from '../contract/error.ts'
import type { Language } from '../contract/job.ts'

/** Languages of a provider of programs: versions of those that run, and causes for those that do not. */
export interface DetectedLanguages {
  readonly features: readonly string[]
  readonly missing: readonly string[]
  readonly without: readonly Language[]
}

const PYTHON = '/usr/bin/python3'
const BASH = '/bin/bash'

/** Throws where Node does not run in the wall; Python may be missing. `versionBy` runs a guest that prints its version. */
export async function detectLanguages(
  versionBy: (language: 'node' | 'python') => Promise<string>,
): Promise<DetectedLanguages> {
  const features = [`node ${await versionBy('node')}`]
  const missing: string[] = []
  const without: Language[] = []
  try {
    if (!existsSync(PYTHON)) throw new Error(`there is no ${PYTHON}`)
    features.push(`python ${await versionBy('python')}`)
  } catch (error) {
    missing.push(`python: ${messageOf(error)}`)
    without.push('python')
  }
  if (!existsSync(BASH)) without.push('bash')
  return { features, missing, without }
}
