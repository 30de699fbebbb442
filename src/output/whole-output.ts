import type { GatedOutput } from '../contract/pipeline.ts'
import type { TaskEnd } from '../contract/provider.ts'
import type { OutputStream } from './stream.ts'

/** Bytes of a whole output that are kept: a quarter of what artifacts may have, because they are held while the job runs. */
export function wholeOutputMax(artifactsMax: number): number {
  return Math.min(Math.floor(artifactsMax / 4), 8 * 2 ** 20)
}

/**
 * Adds outputs that are larger than their limit to the artifacts, as `stdout.txt` and `stderr.txt`, or `stdout-1.txt` where the job has
 * an artifact of that name, unless it has no room left for them. `artifactsMax`: bytes of all artifacts together.
 */
export function withWholeOutputs(
  end: TaskEnd,
  streams: Readonly<Record<'stdout' | 'stderr', OutputStream>>,
  artifactsMax: number,
): Pick<GatedOutput, 'outputLeftOut'> & {
  readonly end: TaskEnd
  readonly files?: TaskEnd['artifacts']
} {
  const names = (['stdout', 'stderr'] as const).filter((name) => streams[name].leftOut > 0)
  if (names.length === 0) return { end }
  const outputLeftOut = Object.fromEntries(names.map((name) => [name, streams[name].leftOut]))
  const files = [...end.artifacts]
  let room = artifactsMax - files.reduce((sum, { bytes }) => sum + bytes.length, 0)
  for (const name of names) {
    const bytes = streams[name].whole
    if (!bytes || bytes.length > room) continue
    files.push({ path: freeName(name, new Set(files.map(({ path }) => path))), bytes })
    room -= bytes.length
  }
  return { end: { ...end, artifacts: files }, files, outputLeftOut }
}

function freeName(name: string, taken: ReadonlySet<string>): string {
  let number = 0
  let path = `${name}.txt`
  while (taken.has(path)) path = `${name}-${++number}.txt`
  return path
}
