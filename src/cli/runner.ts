import type { JobRequest } from '../contract/job.ts'
import type { PackageLayer } from '../contract/layer.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { SentJobListener } from '../gateway/local/client.ts'
import type { RunFlags } from './run-flags.ts'

/** Way of a job of `mayfly run` to a wall. */
export interface Runner extends AsyncDisposable {
  readonly way: NonNullable<Outcome['server']>
  /** Process that runs the job, or reason why no server does; ends the line of `--explain`. */
  readonly about: string
  /** Checks what the job asks of the configuration. Throws MayflyError USAGE. */
  prepare(options: RunnerOptions): Promise<void>
  /** Throws MayflyError as the pipeline does. */
  run(
    request: JobRequest,
    packages: readonly PackageLayer[],
    caller: RunnerCaller,
  ): Promise<Outcome>
}

export type RunnerCaller = Omit<SentJobListener, 'taken'>

export interface RunnerOptions {
  readonly flags: RunFlags
  /** Folders that this job is read from or written to. */
  readonly jobFolders: readonly string[]
}
