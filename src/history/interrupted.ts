import type { Outcome } from '../contract/outcome.ts'

/** The end of a job whose server went away under it. The record has closed it too, with a line of its own. */
export function interrupted(id: string): Outcome {
  return {
    id,
    status: 'failed',
    result: null,
    encoding: 'json',
    error: {
      code: 'INTERRUPTED',
      message: 'The end of this job was lost: its server stopped under it',
    },
    stdout: '',
    stderr: '',
    truncated: { stdout: false, stderr: false },
    artifacts: [],
    security: { threatScore: 0, risk: 0, severity: 'low', signatureValid: false, findings: [] },
    profile: { digest: '', explain: [] },
    metrics: {
      executionTime: 0,
      queueTime: 0,
      startTime: 0,
      teardownTime: 0,
      cpuTime: 0,
      pool: 'none',
      cache: 'none',
      network: [],
    },
    timeline: [],
    evidence: { audit: null, hash: null, bundle: null },
  }
}
