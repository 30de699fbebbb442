import type { Outcome } from '../contract/outcome.ts'
import { formatValue } from './format-value.ts'
import { paint, table } from './print.ts'

/** Explains the sandbox: each profile field with the rule that set it, and each finding with its reason. */
export function explainText(outcome: Outcome): string {
  const fields = outcome.profile.explain.map(({ field, value, because }) => [
    field,
    formatValue(field, value),
    because,
  ])
  const findings = outcome.security.findings.map(({ name, kind, line, column, because }) => [
    name,
    kind,
    `${line}:${column}`,
    because,
  ])
  return [
    paint('bold', 'Profile'),
    table([['field', 'value', 'because'], ...fields]),
    ...(findings.length > 0
      ? [paint('bold', 'Findings'), table([['finding', 'kind', 'at', 'because'], ...findings])]
      : []),
  ].join('\n')
}
