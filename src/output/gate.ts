import type { Profile } from '../contract/profile.ts'
import type { TaskEnd } from '../contract/provider.ts'
import type { Gate, GatedOutput, OutputListener } from '../contract/pipeline.ts'
import { BatchResults } from './batch-results.ts'
import { artifactsProblem, describeArtifacts } from './artifacts.ts'
import { describeDisplay, displayProblem } from './display.ts'
import { boundError, withClosedNetwork, withLimit, withRemedies, withResultBound } from './error.ts'
import { mismatch, readResult } from './result.ts'
import { compileSchema, type SchemaValidator } from './schema.ts'
import { OutputStream } from './stream.ts'
import { withWholeOutputs, wholeOutputMax } from './whole-output.ts'

/**
 * Output gate. Streams are filtered chunk by chunk, the end is judged as a whole; stream text goes to `tap` at once,
 * or with `gate = "whole"` only after the verdict, and not at all if the output is refused. Throws MayflyError
 * INVALID for an invalid schema.
 */
export function createGate(profile: Profile, tap?: OutputListener, calls?: number): Gate {
  const { limits, output } = profile
  const check = output.schema === undefined ? undefined : compileSchema(output.schema)
  const isWhole = output.gate === 'whole'
  const stream = (name: 'stdout' | 'stderr') =>
    new OutputStream(limits.output, {
      listener: isWhole || !tap ? undefined : (text, bytes) => tap(name, text, bytes),
      wholeMax: wholeOutputMax(limits.artifacts),
    })
  const [stdout, stderr] = [stream('stdout'), stream('stderr')]
  const answers = calls === undefined ? undefined : new BatchResults(calls, limits.result, check)

  return {
    stdout: (chunk) => stdout.take(chunk),
    stderr: (chunk) => stderr.take(chunk),
    answered: (answer) => answers?.take(answer),
    close(own) {
      const texts = { stdout: stdout.close(), stderr: stderr.close() }
      const { end, ...beyond } = withWholeOutputs(own, { stdout, stderr }, limits.artifacts)
      const truncated = { stdout: stdout.isTruncated, stderr: stderr.isTruncated }
      const verdict = answers
        ? { ...judge(answers.whole(end), profile, undefined), calls: answers.close(end) }
        : judge(end, profile, check, texts.stderr)
      if (!isWhole) return { ...verdict, ...texts, truncated, ...beyond }
      if (verdict.status === 'refused') return { ...verdict, ...withheld, truncated }
      if (tap) release(tap, texts, { stdout: stdout.unreadable, stderr: stderr.unreadable })
      return { ...verdict, ...texts, truncated, ...beyond }
    },
  }
}

const withheld = { stdout: '', stderr: '' }
const nothing = { result: null, encoding: 'json', artifacts: [], display: [] } as const

type Judged = Pick<
  GatedOutput,
  'status' | 'result' | 'encoding' | 'error' | 'artifacts' | 'display'
>

function judge(
  end: TaskEnd,
  profile: Profile,
  check: SchemaValidator | undefined,
  stderr = '',
): Judged {
  const { limits } = profile
  const problem = artifactsProblem(end.artifacts, limits.artifacts) ?? displayProblem(end)
  if (problem) return { ...nothing, status: 'refused', error: problem }
  const artifacts = describeArtifacts(end.artifacts)
  const display = describeDisplay(end)
  const { status, encoding } = end
  if (status !== 'ok')
    return { ...nothing, status, error: errorOf(end, profile, stderr), artifacts, display }
  const read = readResult(end.resultText, encoding, limits.result)
  const error = read.kind === 'refused' ? read.error : mismatch(check?.(read.value))
  if (read.kind === 'refused' || error)
    return { ...nothing, status: 'refused', error: withResultBound(error!, limits.result) }
  return { status, result: read.value, encoding, artifacts, display }
}

function errorOf(end: TaskEnd, profile: Profile, stderr: string) {
  const error = withResultBound(boundError(end), profile.limits.result)
  const { status } = end
  if (status === 'error') return withClosedNetwork(withRemedies(error), profile.controls, stderr)
  const isLimit = status === 'limit' || status === 'timeout'
  return isLimit ? withLimit(error, profile, end.memory?.peak) : withRemedies(error)
}

/** Sends withheld text without back-pressure: the guest has ended. */
function release(
  tap: OutputListener,
  texts: { readonly stdout: string; readonly stderr: string },
  bytes: { readonly stdout: Uint8Array | undefined; readonly stderr: Uint8Array | undefined },
): void {
  for (const name of ['stdout', 'stderr'] as const) {
    if (texts[name]) Promise.try(() => tap(name, texts[name], bytes[name])).catch(() => {})
  }
}
