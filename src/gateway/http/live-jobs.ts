import type { ExecutionRow } from '../../history/history.ts'
import type { LiveOutput } from './live-output.ts'
import type { LiveTimeline } from './live-timeline.ts'

/** Job between request and outcome: status, cancel, output. */
export interface LiveJob {
  readonly row: ExecutionRow
  readonly cancel: () => void
  /** Recent output frames. */
  readonly output: LiveOutput
  readonly timeline: LiveTimeline
  /** Outcome as JSON; rejects if there is none. */
  readonly ended: Promise<string>
}

/** Running jobs, by tenant and id; bounded by the job slots. */
export class LiveJobs {
  readonly #jobs = new Map<string, LiveJob & { readonly tenant: string }>()
  readonly #expected = new Set<string>()

  /** Counts a job as under way before it begins. Call `forgo` if it cannot begin. */
  expect(id: string): void {
    this.#expected.add(id)
  }

  forgo(id: string): void {
    this.#expected.delete(id)
  }

  begin(tenant: string, live: LiveJob): void {
    this.#expected.delete(live.row.id)
    this.#jobs.set(live.row.id, { ...live, tenant })
  }

  /** Marks user code as released. */
  runs(id: string): void {
    const live = this.#jobs.get(id)
    if (live) this.#jobs.set(id, { ...live, row: { ...live.row, status: 'running' } })
  }

  end(id: string): void {
    this.#jobs.get(id)?.output.end()
    this.#jobs.delete(id)
  }

  /** Undefined also for another tenant's job. */
  find(tenant: string, id: string): LiveJob | undefined {
    const live = this.#jobs.get(id)
    return live?.tenant === tenant ? live : undefined
  }

  /** True for a job of this tenant that runs, and for one that is about to. */
  isUnderWay(tenant: string, id: string): boolean {
    return this.#expected.has(id) || this.find(tenant, id) !== undefined
  }

  of(tenant: string): readonly ExecutionRow[] {
    return [...this.#jobs.values()].filter((live) => live.tenant === tenant).map(({ row }) => row)
  }
}
