import type { Observation, ObservedFact } from '../../contract/anomaly.ts'
import { evidenceMax } from '../../contract/anomaly.ts'
import { type Detector, type DetectedAnomaly, lastOf } from './detector.ts'
import type { Thresholds } from '../../contract/thresholds.ts'

interface Growth {
  /** Chunks within the window; simultaneous ones are merged. */
  readonly pieces: readonly { readonly at: number; readonly bytes: number }[]
  readonly evidence: readonly Observation[]
  /**
   * Lowest entropy so far, and the bytes of clearly higher entropy since. That of stderr does not count for stdout:
   * `tar -cvz` writes names to one and an archive to the other.
   */
  readonly calm: Readonly<Record<'stdout' | 'any', number | undefined>>
  /** Bytes with the entropy of encoded noise (base64), and of raw noise. */
  readonly denseBytes: number
  readonly noisyBytes: number
}

const piecesMax = 64

/** Output in one burst, or turning from text to noise (encryption, exfiltration). */
export const outputGrowth: Detector<Growth> = {
  name: 'output-growth',
  first: {
    pieces: [],
    evidence: [],
    calm: { stdout: undefined, any: undefined },
    denseBytes: 0,
    noisyBytes: 0,
  },
  see(state, observation, { foreseen, thresholds }) {
    const { seen, at } = observation
    if (seen.kind !== 'output') return { state }
    const since = at - thresholds['output-growth.windowMs']
    const recent = state.pieces.filter((piece) => piece.at > since)
    const pieces = joined(recent, { at, bytes: seen.bytes })
    const noise = noiseOf(state, seen, thresholds)
    const evidence = lastOf(state.evidence, observation, evidenceMax)
    const next = { pieces, evidence, ...noise }
    const found = turned(next, thresholds) ?? burst(next, foreseen.output, thresholds)
    return { state: next, found }
  },
}

/** At capacity the two oldest chunks are merged, which keeps the sum. */
function joined(pieces: Growth['pieces'], one: Growth['pieces'][number]): Growth['pieces'] {
  const last = pieces.at(-1)
  if (last?.at === one.at)
    return [...pieces.slice(0, -1), { at: one.at, bytes: last.bytes + one.bytes }]
  if (pieces.length < piecesMax) return [...pieces, one]
  const [first, second, ...rest] = pieces
  return [{ at: second!.at, bytes: first!.bytes + second!.bytes }, ...rest, one]
}

function noiseOf(
  { calm, denseBytes, noisyBytes }: Growth,
  { bytes, entropy, stream }: Omit<Extract<ObservedFact, { kind: 'output' }>, 'kind'>,
  thresholds: Thresholds,
): Pick<Growth, 'calm' | 'denseBytes' | 'noisyBytes'> {
  if (entropy === undefined) return { calm, denseBytes, noisyBytes }
  const isError = stream === 'stderr'
  const before = isError ? calm.any : calm.stdout
  const isRaised =
    before !== undefined && entropy - before >= thresholds['output-growth.entropyRise']
  const counted = (least: number) => (isRaised && entropy >= least ? bytes : 0)
  const raw = thresholds['output-growth.entropy']
  return {
    calm: {
      stdout: isError ? calm.stdout : Math.min(calm.stdout ?? 8, entropy),
      any: Math.min(calm.any ?? 8, entropy),
    },
    denseBytes: denseBytes + counted(Math.min(raw, thresholds['output-growth.dense'])),
    noisyBytes: noisyBytes + counted(raw),
  }
}

function turned(
  { denseBytes, noisyBytes, evidence }: Growth,
  thresholds: Thresholds,
): DetectedAnomaly | undefined {
  const least = thresholds['output-growth.entropyBytes']
  if (denseBytes < least) return undefined
  const reason = `Its output has high entropy, as encrypted data has: ${denseBytes} bytes so far`
  const severity = noisyBytes >= least ? 'medium' : 'low'
  return { severity, subject: 'noise', reason, evidence }
}

function burst(
  { pieces, evidence }: Growth,
  limit: number,
  thresholds: Thresholds,
): DetectedAnomaly | undefined {
  const bytes = pieces.reduce((sum, piece) => sum + piece.bytes, 0)
  if (limit <= 0 || bytes < limit * thresholds['output-growth.share']) return undefined
  const reason = `It wrote ${bytes} bytes within ${thresholds['output-growth.windowMs']} ms`
  return { severity: 'low', subject: 'burst', reason, evidence }
}
