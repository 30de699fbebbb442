import type { Clock } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'
import type { Emitter } from '../contract/event.ts'
import type { Job } from '../contract/job.ts'
import { shownScores, type Analysis } from '../contract/verdict.ts'

/**
 * Emits the end of an analysis without a run, so that its trace span ends too: `effect/registered` or `effect/refused`
 * for code that the caller registers under a name, else `threat/judged`.
 */
export function createJudged({ emitter, clock }: { emitter: Emitter; clock: Clock }) {
  return async <Answer>(
    job: Job,
    effectId: string | undefined,
    work: () => Promise<Answer>,
    analysisOf: (answer: Answer) => Analysis | undefined,
  ): Promise<Answer> => {
    const began = clock.now()
    const { tenant, traceparent } = job
    const emitEnd = (more: object): void => {
      const named = effectId !== undefined && { effectId }
      const trace = traceparent !== undefined && { traceparent }
      const fields = { tenant, ...named, ...trace, ...more, took: clock.now() - began }
      const about = { run: job.id }
      if (effectId === undefined) emitter.emit('threat/judged', fields, about)
      else if ('code' in more) emitter.emit('effect/refused', fields, about)
      else emitter.emit('effect/registered', fields, about)
    }
    try {
      const answer = await work()
      const analysis = analysisOf(answer)
      const didNotParse = analysis?.kind === 'syntax-error'
      emitEnd(didNotParse ? { code: 'SYNTAX_ERROR' } : securityOf(analysis))
      return answer
    } catch (thrown) {
      emitEnd({ code: thrown instanceof MayflyError ? thrown.code : 'INTERNAL' })
      throw thrown
    }
  }
}

function securityOf(analysis: Analysis | undefined): object {
  if (!analysis) return {}
  const { signatureValid } = analysis.verdict
  const { threatScore, severity, judged } = shownScores(analysis.verdict)
  return { threatScore, severity, judged, signatureValid }
}
