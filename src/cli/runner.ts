import type { JobRequest } from '../contract/job.ts'
import type { PackageLayer } from '../contract/layer.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { SentJobListener } from '../gateway/local/client.ts'
import type { RunFlags } from './run-flags.ts'

/** Process that runs a job of `mayfly run`: a server, or this one. */
export interface Runner extends AsyncDisposable {
  readonly way: NonNullable<Outcome['server']>
  /** Process that runs the job, or the reason why no server does; completes the line `Server:` of `--explain`. */
  readonly about: string
  /** Checks the job's requests against the configuration. Throws MayflyError USAGE. */
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
