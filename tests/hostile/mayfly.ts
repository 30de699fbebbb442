import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { JobRequest } from '../../src/contract/job.ts'
import type { Outcome } from '../../src/contract/outcome.ts'
import { MayflyError } from '../../src/contract/error.ts'
import type { Lure } from './bait.ts'
import type { Case, End } from './case.ts'
import { sourceOf } from './case.ts'

export const timeoutMs = 300
export const memoryMiB = 32
/** The promise: a job ends at its limit plus this, at p99. */
export const graceMs = 250

/** What the tests use of the library. */
export interface Library extends AsyncDisposable {
  run(job: JobRequest, options?: { readonly tenant?: string }): Promise<Outcome>
  /** Whether the kernel holds a worker's memory here, or a watch alone. */
  hasMemoryCgroup(): Promise<boolean>
}

interface Opened extends Pick<Library, 'run'>, AsyncDisposable {
  providers(): Promise<
    readonly { readonly availability: { readonly layers?: readonly string[] } }[]
  >
}

const index = new URL('../../src/index.ts', import.meta.url)

/** Everything on the isolate wall, whatever analysis or behaviour says: it is that wall which is tried here. */
const config = {
  escalation: { 0: 'isolate' },
  schedules: {
    default: {
      phases: [{ name: 'full', for: '10s' }],
      on_anomaly: { low: 'record', medium: 'record', high: 'record' },
    },
  },
  tenants: [{ name: 'default' }, { name: 'other' }],
}

/** Opens Mayfly with a state folder of its own, or says why it cannot be tried here. */
export async function openMayfly(): Promise<Library | string> {
  if (!existsSync(index)) return 'there is no src/index.ts yet'
  const { Mayfly } = (await import(index.href)) as {
    Mayfly?: { open(config: unknown): Promise<Opened> }
  }
  if (!Mayfly) return 'src/index.ts has no Mayfly yet'
  const state = mkdtempSync(join(tmpdir(), 'hostile-state-'))
  const mayfly = await Mayfly.open({ ...config, state })
  return {
    run: (job, options) => mayfly.run(job, options),
    hasMemoryCgroup: async () =>
      (await mayfly.providers()).some(({ availability: { layers = [] } }) =>
        layers.includes('memory cgroup'),
      ),
    [Symbol.asyncDispose]: async () => {
      await mayfly[Symbol.asyncDispose]()
      for (const own of [state, `${state}-warden`]) rmSync(own, { recursive: true, force: true })
    },
  }
}

export interface CaseRun {
  readonly end: End
  readonly outcome?: Outcome
  readonly text: string
}

/** One job as a case wants it; a door that refuses is an end too. */
export async function runCase(
  mayfly: Library,
  hostile: Case,
  { bait }: Lure,
  second?: Case['second'],
): Promise<CaseRun> {
  const job: JobRequest = {
    code: sourceOf(second?.code ?? hostile.code),
    language: hostile.language ?? 'js',
    input: bait,
    limits: { timeout: timeoutMs, memory: `${memoryMiB}MB` },
    // A second job of another tenant has files of its own: none.
    ...(hostile.files && !second && { files: hostile.files.map((file) => ({ ...file })) }),
    ...(hostile.entry && { entry: hostile.entry }),
  }
  try {
    const outcome = await mayfly.run(job, second?.tenant ? { tenant: second.tenant } : {})
    const { result, error, stdout, stderr } = outcome
    return { end: outcome.status, outcome, text: JSON.stringify([result, error, stdout, stderr]) }
  } catch (error) {
    if (error instanceof MayflyError) return { end: 'rejected', text: error.message }
    throw error
  }
}
