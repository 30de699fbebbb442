import type { TaskEnd } from '../contract/provider.ts'

/** Peaks that a guest reports (untrusted): of its process above that at its release, and the largest of a child. */
interface ReportedPeaks {
  readonly peakBytes?: number | undefined
  readonly childPeakBytes?: number | undefined
}

/**
 * Memory of a program above the idle size of its wall: the highest sample or what it reports, within its limit. A child
 * is counted with the pages that it shares.
 */
export function peakMemory(
  {
    peakBytes: sampledBytes,
    idleBytes,
  }: { readonly peakBytes: number; readonly idleBytes: number },
  { peakBytes = 0, childPeakBytes = 0 }: ReportedPeaks,
  limitBytes: number,
): Required<Pick<TaskEnd, 'memory'>> {
  const sampled = Math.max(0, sampledBytes - idleBytes)
  const reported = Math.max(peakBytes, childPeakBytes)
  const peak = Math.max(sampled, Math.min(reported, limitBytes))
  return { memory: { used: peak, peak, absolute: idleBytes + peak } }
}

/** The same of an exec, which is not sampled by itself; none if its guest reports none. */
export function execMemory(
  { peakBytes }: ReportedPeaks,
  limitBytes: number,
): Pick<TaskEnd, 'memory'> {
  if (peakBytes === undefined) return {}
  const peak = Math.min(peakBytes, limitBytes)
  return { memory: { used: peak, peak } }
}
