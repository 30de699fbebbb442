import type { Outcome } from '../contract/outcome.ts'

const fields = ['id', 'status', 'tier', 'result', 'stdout', 'stderr', 'error', 'exitCode'] as const

/**
 * Outcome of `--json=short`: end and output of the job, without metrics, findings and timeline.
 * Empty fields are omitted; artifacts have no content.
 */
export function shortOutcome(outcome: Outcome): Partial<Outcome> {
  const chosen = fields.map((name) => [name, outcome[name]] as const)
  const { artifacts, artifactsLeftOut, outputLeftOut, truncated, warnings } = outcome
  const isCut = truncated.stdout || truncated.stderr
  return {
    ...Object.fromEntries(
      chosen.filter(([, value]) => value !== undefined && value !== null && value !== ''),
    ),
    ...(isCut && { truncated }),
    ...(outputLeftOut && { outputLeftOut }),
    ...(warnings && { warnings }),
    ...(artifacts.length > 0 && { artifacts: artifacts.map(withoutContent) }),
    ...(artifactsLeftOut.length > 0 && { artifactsLeftOut }),
  }
}

function withoutContent({ content: _content, ...about }: Outcome['artifacts'][number]) {
  return about
}
