import type { ExecutionRow } from '../../history/history.ts'
import type { LiveOutput } from './live-output.ts'
import type { LiveStory } from './live-story.ts'

/** A job between door and outcome, for whoever asks how it is, or wants it to end. */
export interface LiveJob {
  readonly row: ExecutionRow
  readonly cancel: () => void
  /** What it tells. */
  readonly output: LiveOutput
  readonly story: LiveStory
  /** Its outcome as JSON; rejects where there is none. */
  readonly ended: Promise<string>
}

/** The jobs under way, by tenant and id. As many as `Running` lets in. */
export class LiveJobs {
  readonly #jobs = new Map<string, LiveJob & { readonly tenant: string }>()

  begin(tenant: string, live: LiveJob): void {
    this.#jobs.set(live.row.id, { ...live, tenant })
  }

  /** User code was released. */
  runs(id: string): void {
    const live = this.#jobs.get(id)
    if (live) this.#jobs.set(id, { ...live, row: { ...live.row, status: 'running' } })
  }

  end(id: string): void {
    this.#jobs.get(id)?.output.end()
    this.#jobs.delete(id)
  }

  /** Undefined for a job of another tenant too. */
  find(tenant: string, id: string): LiveJob | undefined {
    const live = this.#jobs.get(id)
    return live?.tenant === tenant ? live : undefined
  }

  of(tenant: string): readonly ExecutionRow[] {
    return [...this.#jobs.values()].filter((live) => live.tenant === tenant).map(({ row }) => row)
  }
}
