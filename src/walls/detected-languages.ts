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
  const node = await versionBy('node')
  const python = await pythonBy(versionBy)
  return {
    features: [`node ${node}`, ...('version' in python ? [`python ${python.version}`] : [])],
    missing: 'missing' in python ? [`python: ${python.missing}`] : [],
    without: [
      ...('missing' in python ? (['python'] as const) : []),
      ...(existsSync(BASH) ? [] : (['bash'] as const)),
    ],
  }
}

async function pythonBy(
  versionBy: (language: 'python') => Promise<string>,
): Promise<{ readonly version: string } | { readonly missing: string }> {
  if (!existsSync(PYTHON)) return { missing: `there is no ${PYTHON}` }
  try {
    return { version: await versionBy('python') }
  } catch (error) {
    return { missing: messageOf(error) }
  }
}
