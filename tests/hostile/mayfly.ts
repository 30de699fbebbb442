import assert from 'node:assert/strict'
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
/** Limits of the corpus. */
export const smallLimits = { timeout: timeoutMs, memory: `${memoryMiB}MB` }
/** The promise: a job ends within its limit plus this, at p99. */
export const graceMs = 250

/** Subset of the library used by the tests. */
export interface Library extends AsyncDisposable {
  run(job: JobRequest, options?: { readonly tenant?: string }): Promise<Outcome>
  /** True if a memory cgroup limits the worker, false if only polling does. */
  hasMemoryCgroup(): Promise<boolean>
}

interface Opened extends Pick<Library, 'run'>, AsyncDisposable {
  providers(): Promise<
    readonly { readonly availability: { readonly layers?: readonly string[] } }[]
  >
}

const index = new URL('../../src/index.ts', import.meta.url)

/** Every job on the isolate wall, regardless of analysis: this wall is under test. */
export const onIsolates = { escalation: { 0: 'isolate' } }
/** Regardless of behaviour as well. A schedule of its own gives jobs that ask for none a limit of ten seconds. */
const config = {
  ...onIsolates,
  schedules: {
    default: {
      phases: [{ name: 'full', for: '10s' }],
      on_anomaly: { low: 'record', medium: 'record', high: 'record' },
    },
  },
  tenants: [{ name: 'default' }, { name: 'other' }],
}

/** Opens Mayfly with its own state folder, or returns why it cannot be tested here. */
export async function openMayfly(own: object = config): Promise<Library | string> {
  if (!existsSync(index)) return 'there is no src/index.ts yet'
  const { Mayfly } = (await import(index.href)) as {
    Mayfly?: { open(config: unknown): Promise<Opened> }
  }
  if (!Mayfly) return 'src/index.ts has no Mayfly yet'
  const state = mkdtempSync(join(tmpdir(), 'hostile-state-'))
  const mayfly = await Mayfly.open({ ...own, state })
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

/** Runs a case's job; a refusal at the entry point is an end too. */
export async function runCase(
  mayfly: Library,
  hostile: Case,
  { bait }: Lure,
  { second, limits }: { readonly second?: Case['second']; readonly limits: JobRequest['limits'] },
): Promise<CaseRun> {
  const job: JobRequest = {
    code: sourceOf(second?.code ?? hostile.code),
    language: hostile.language ?? 'js',
    input: bait,
    ...(limits && { limits }),
    // A second job, of another tenant, gets no files.
    ...(hostile.files && !second && { files: hostile.files.map((file) => ({ ...file })) }),
    ...(hostile.entry && { entry: hostile.entry }),
    ...(hostile.capabilities && { capabilities: [...hostile.capabilities] }),
  }
  try {
    const outcome = await mayfly.run(job, second?.tenant ? { tenant: second.tenant } : {})
    // A job that is refused has no tier.
    assert.ok(['none', 'isolate'].includes(outcome.tier ?? 'none'), `${outcome.tier}`)
    const { result, error, stdout, stderr } = outcome
    return { end: outcome.status, outcome, text: JSON.stringify([result, error, stdout, stderr]) }
  } catch (error) {
    if (error instanceof MayflyError) return { end: 'rejected', text: error.message }
    throw error
  }
}
