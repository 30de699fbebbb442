import type { Artifact } from '../contract/outcome.ts'
import type { OutcomeError } from '../contract/outcome-error.ts'
import type { TaskEnd } from '../contract/provider.ts'
import { sha256 } from '../lib/hash.ts'
import { sanitiseLine } from './sanitise.ts'

/** Maximum of artifacts per job. */
export const artifactsMax = 1000
const pathUnitsMax = 1024

/** Reason why artifacts may not leave; undefined if they may. Paths come from the guest. */
export function artifactsProblem(
  files: TaskEnd['artifacts'],
  bytesMax: number,
): OutcomeError | undefined {
  if (files.length > artifactsMax)
    return tooMuch(`The job left more than ${artifactsMax} artifacts`)
  const bytes = files.reduce((sum, file) => sum + file.bytes.length, 0)
  if (bytes > bytesMax) return tooMuch(`The artifacts are larger than ${bytesMax} bytes together`)
  const bad = files.find(({ path }) => !isInside(path))
  if (bad)
    return invalid(
      `Cannot pass on the artifact "${shown(bad.path)}": its path is not plain, or has a control character. Rename it, or remove it before the end`,
    )
  const isUnique = new Set(files.map(({ path }) => path)).size === files.length
  return isUnique ? undefined : invalid('Cannot pass on two artifacts of the same path')
}

/** Describes artifacts for the outcome, without their bytes. */
export function describeArtifacts(files: TaskEnd['artifacts']): readonly Artifact[] {
  return files.map(({ path, bytes }) => ({ path, size: bytes.length, sha256: sha256(bytes) }))
}

/** True for a relative path without `.`, `..` and control characters, unambiguous on every platform. */
function isInside(path: string): boolean {
  if (path.length > pathUnitsMax || !path.isWellFormed() || /[\p{Cc}\\]/u.test(path)) return false
  return path.split('/').every((step) => step !== '' && step !== '.' && step !== '..')
}

function shown(path: string): string {
  return sanitiseLine(path.slice(0, 100).toWellFormed())
}

function tooMuch(message: string): OutcomeError {
  return { code: 'ARTIFACTS_TOO_LARGE', message }
}

function invalid(message: string): OutcomeError {
  return { code: 'ARTIFACT_INVALID', message }
}
