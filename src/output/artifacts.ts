import type { Artifact, OutcomeError } from '../contract/outcome.ts'
import type { TaskEnd } from '../contract/provider.ts'
import { sha256 } from '../lib/hash.ts'

/** Artifacts of one job. */
export const artifactsMax = 1000
const pathUnitsMax = 1024

/** Why the artifacts of a job may not leave; undefined when they may. Their paths come from the guest. */
export function artifactsProblem(
  files: TaskEnd['artifacts'],
  bytesMax: number,
): OutcomeError | undefined {
  if (files.length > artifactsMax)
    return tooMuch(`The job left more than ${artifactsMax} artifacts`)
  const bytes = files.reduce((sum, file) => sum + file.bytes.length, 0)
  if (bytes > bytesMax) return tooMuch(`The artifacts are larger than ${bytesMax} bytes together`)
  const bad = files.find(({ path }) => !isInside(path))
  if (bad) return invalid(`Cannot pass on the artifact "${shown(bad.path)}": its path is not plain`)
  const isUnique = new Set(files.map(({ path }) => path)).size === files.length
  return isUnique ? undefined : invalid('Cannot pass on two artifacts of the same path')
}

/** What the outcome says of each; the bytes stay where they are. */
export function describeArtifacts(files: TaskEnd['artifacts']): readonly Artifact[] {
  return files.map(({ path, bytes }) => ({ path, size: bytes.length, sha256: sha256(bytes) }))
}

/** Relative, below its folder, and the same path for every reader. */
function isInside(path: string): boolean {
  if (path.length > pathUnitsMax || !path.isWellFormed() || /[\0\\]/.test(path)) return false
  return path.split('/').every((step) => step !== '' && step !== '.' && step !== '..')
}

function shown(path: string): string {
  return path.slice(0, 100).toWellFormed()
}

function tooMuch(message: string): OutcomeError {
  return { code: 'ARTIFACTS_TOO_LARGE', message }
}

function invalid(message: string): OutcomeError {
  return { code: 'ARTIFACT_INVALID', message }
}
