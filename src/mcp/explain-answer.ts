import { scoreLegend, shownScores } from '../contract/verdict.ts'
import type { ExecutionExplanation } from '../assemble/assemble.ts'
import { fenced, safeCut, type ToolAnswer } from './tool-answer.ts'

const FINDINGS_MAX = 30
const FIELDS_MAX = 60
const TEXT_CHARACTERS_MAX = 300

const legend = `${scoreLegend.risk}; ${scoreLegend.threat}`

export function answerExplanation({ analysis, plan }: ExecutionExplanation): ToolAnswer {
  const { verdict } = analysis
  const { tier, provider, explain } = plan.profile
  const fault = faultOf(analysis, plan)
  const findings = verdict.findings.slice(0, FINDINGS_MAX).map((one) => ({
    name: one.name,
    severity: one.severity,
    line: one.line,
    description: safeCut(one.description, TEXT_CHARACTERS_MAX),
  }))
  const reasons = explain.slice(0, FIELDS_MAX)
  const lines = [
    ...findings.map((one) => `line ${one.line}: ${one.name} (${one.severity}): ${one.description}`),
    ...reasons.map(
      ({ field, value, because }) => `${field} = ${JSON.stringify(value)}: ${because}`,
    ),
  ]
  const head = fault
    ? `It would not run: ${fault.code}: ${safeCut(fault.message, TEXT_CHARACTERS_MAX)}`
    : `It would run as ${verdict.language} in a sandbox of tier ${tier}`
  const { language } = verdict
  const { risk, threatScore, judged } = shownScores(verdict)
  const scores = judged
    ? `risk ${risk}, threat score ${threatScore}`
    : 'not judged: nothing read it'
  return {
    text: `${head} (${scores})\n${legend}\n\n${fenced('why', lines.join('\n'), 8000)}`,
    data: {
      runs: fault === undefined,
      ...(fault && { error: { ...fault, message: safeCut(fault.message, TEXT_CHARACTERS_MAX) } }),
      language,
      tier,
      provider,
      risk,
      threatScore,
      judged,
      findings,
      explain: reasons,
    },
  }
}

function faultOf(
  analysis: ExecutionExplanation['analysis'],
  plan: ExecutionExplanation['plan'],
): { readonly code: string; readonly message: string } | undefined {
  if (analysis.kind === 'syntax-error')
    return {
      code: 'SYNTAX_ERROR',
      message: `${analysis.message} (line ${analysis.line}, column ${analysis.column})`,
    }
  if (plan.kind === 'run') return undefined
  return { code: plan.error.code, message: plan.error.message }
}
